"""Collects the total gradient norm of every state at every time step of what runs."""

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from rnnlab.cells import States
from rnnlab.common import torch_private
from rnnlab.common.errors import UserError
from rnnlab.gradients.netcdf import STEPS, RecordFolder
from rnnlab.gradients.passes import Losses, ScanGradients, follow_losses
from rnnlab.gradients.profile import Key, Step, build
from rnnlab.gradients.receiver import GradientReceiver
from rnnlab.gradients.silence import FROZEN, NO_BACKWARD, NO_GRAD, NOT_CALLED, Silence
from rnnlab.gradients.step import Manner, make_step
from rnnlab.layers.recurrent import Recurrent
from rnnlab.layers.stacks import recurrent_layers
from rnnlab.scan.observer import ScanCall

if TYPE_CHECKING:
    import xarray as xr


HELD = 1 << 18
"""Numbers of finished passes that wait to be summed up: many at once take a fraction of the time, as what one pass
needs is in the processor's cache for the next, and is not when a network has run in between."""


class _Pass:
    """What has come back in one backward pass.

    The engine alone holds it, to call it at the end, so that a pass that fails takes what it left behind with it.
    """

    def __init__(self, recorder: "Recorder") -> None:
        self.recorder = recorder
        self.received: dict[Key, dict[int, ScanGradients]] = {}
        self.losses: dict[tuple[int, int], Losses] = {}  # by first layer and call

    def __call__(self) -> None:
        self.recorder.commit(self)


def check_scale(scale: float) -> None:
    """Refuse a `loss_reduction_scale` that is no positive number."""
    if not isinstance(scale, Real) or not 0 < scale < math.inf:
        raise UserError(
            f"loss_reduction_scale = {scale!r} multiplies gradients: give a positive number, "
            "such as the batch size to undo the mean over a batch"
        )


@dataclass(eq=False)
class Recorder:
    """Collects total gradient norms of every recurrent layer of a model.

    Args:
        per_example: keep the norm of every example too.
        loss_reduction_scale: what per-example gradients are multiplied by: the batch size undoes a batch mean.
        every: of so many backward passes, or updates where they are counted, one is kept.
        scaler: what the loss was multiplied with, to be taken back.
        folder: where steps go, so that memory is bounded.
    """

    per_example: bool = False
    loss_reduction_scale: float = 1.0
    _steps: list[Step] = field(default_factory=list)
    _waiting: list[Callable[[], Step]] = field(default_factory=list)  # steps to be summed up
    _held: int = 0  # numbers that these hold
    _passes: "WeakValueDictionary[tuple[int, int | None], _Pass]" = field(default_factory=WeakValueDictionary)
    _gathered: "_Pass | None" = None  # what one observed step gathers, from however many passes
    modules: list[str] = field(default_factory=list)
    """Name of the module that each layer belongs to."""
    _first_layer: dict[int, int] = field(default_factory=dict)
    _calls: dict[int, int] = field(default_factory=dict)  # by first layer
    _latest: dict[tuple[int, int], int] = field(default_factory=dict)  # of these, by thread and first layer
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _window: tuple[int | None, int] | None = None  # train step and length of the step being observed
    overlapping: bool = False
    every: int = 1
    scaler: torch.amp.GradScaler | None = None
    folder: RecordFolder | None = None
    updates: int | None = None
    """Updates done, where an optimiser, or a trainer, counts them."""
    _finished: int = 0
    _layers: list[Recurrent] = field(default_factory=list)
    silence: Silence = field(default_factory=lambda: Silence(()))
    """Of which modules nothing was seen; says so where a block has no other meaning than to see them."""

    def __post_init__(self) -> None:
        if type(self.every) is not int or self.every < 1:
            raise UserError(f"every = {self.every!r} must be a whole number of backward passes, at least 1")
        check_scale(self.loss_reduction_scale)

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Observe every recurrent layer inside `model`; each backward pass becomes one step."""
        layers, first = recurrent_layers(model)
        # A shallow copy, such as a replica, shares the observers of its original, and counts as a call of it.
        layers = list({id(layer.observers): layer for layer in reversed(layers)}.values())[::-1]
        self._first_layer = {id(layer.observers): first[id(layer)] for layer in layers}
        names = {id(module): name for name, module in model.named_modules()}
        self.modules = [
            names[id(module)]
            for module in model.modules()
            if isinstance(module, Recurrent)
            for _ in range(module.num_layers)
        ]
        self._layers, self.silence = layers, Silence(self.modules if self._window is None else ())
        try:
            self.resume()
            yield
        finally:
            self.pause()
            self._layers = []

    def pause(self) -> None:
        """Leave the calls that follow alone, at no cost, until `resume`."""
        for layer in self._layers:
            if self in getattr(layer, "observers", ()):  # a layer that was restored meanwhile has none
                layer.observers.remove(self)

    def resume(self) -> None:
        """Follow the calls from now on."""
        for layer in self._layers:
            if self not in layer.observers:
                layer.observers.append(self)

    @contextmanager
    def one_step(self, model: nn.Module, train_step: int, length: int, overlapping: bool = False) -> Iterator[None]:
        """Gather all backward passes inside the block into one step of `length` time steps.

        Pieces of a sequence that is fed piecewise land at their absolute time, and the rest stays NaN.

        Args:
            model: observed inside the block.
            train_step: updates done so far.
            length: T of the whole sequence.
            overlapping: whether pieces overlap, as windows of truncated back-propagation may; their gradients then
                add, as they do in the weights.
        """
        self._window, self.overlapping = (train_step, length), overlapping
        self._gathered = _Pass(self)
        try:
            with self.attached(model):
                yield
                self._gathered()
        finally:
            self._window, self._gathered, self.overlapping = None, None, False

    def observe(self, call: ScanCall) -> GradientReceiver:
        """Follow one scan; see `rnnlab.scan.observer`."""
        if torch_private.graph_task() not in (None, -1):
            self._current_pass()  # a checkpoint takes the call again, to go back through it in a pass within this one
        elif self.folder is not None and len(self._steps) + len(self._waiting) >= STEPS:
            self.flush()  # here, as nothing may fail in a backward pass
        first = self._first_layer[id(call.module.observers)]
        self.silence.note(self.modules[first], NO_BACKWARD)
        if (call.layer, call.direction) == (0, "forward"):
            with self._counting:  # layers may be called in several threads at once
                self._calls[first] = self._calls.get(first, 0) + 1
                self._latest[threading.get_ident(), first] = self._calls[first]
        layer, number = first + call.layer, self._latest[threading.get_ident(), first]

        seen = call._replace(history=[])  # whose hooks hold on to what would hold them, until the collector comes

        def received(state: str) -> ScanGradients:
            return self.received(Key(layer, seen.direction, state), number, seen)

        def take_start(state: str, phase: int, gradient: Tensor | None) -> None:
            if gradient is not None:
                received(state).starts[phase] = gradient.detach()

        for phase, states in enumerate(call.history):
            for name, state in zip(call.cell.states, states, strict=True):
                state.register_hook(partial(take_start, name, phase))
        return GradientReceiver(call.cell.states, self.overlapping, received)

    def leave(self, module: nn.Module, outputs: Tensor, finals: States) -> None:
        """Note, in every backward pass, where gradients come to what a stack returns."""
        first = self._first_layer[id(module.observers)]
        at = first, self._latest[threading.get_ident(), first]

        follow_losses(outputs, finals, lambda: self._current_pass().losses.setdefault(at, Losses()))

    def miss(self, module: nn.Module) -> None:
        """Note a call that no gradient can come back through."""
        why = FROZEN if torch.is_grad_enabled() else NO_GRAD
        self.silence.note(self.modules[self._first_layer[id(module.observers)]], why)
        self.silence.explain({FROZEN}, stacklevel=2)

    def received(self, key: Key, number: int, call: ScanCall) -> ScanGradients:
        """What has come back so far of one state in one scan; called during backward passes."""
        numbered = self._current_pass().received.setdefault(key, {})
        if number not in numbered:
            numbered[number] = ScanGradients(call)
        return numbered[number]

    def _current_pass(self) -> "_Pass":
        """The backward pass that is running; the outer one, where a hook or a checkpoint runs one within another."""
        if self._gathered is not None:
            return self._gathered
        thread, task = threading.get_ident(), torch_private.graph_task()
        if (own := self._passes.get((thread, task))) is not None:
            return own
        known = list(self._passes.items())
        same = [one for (_, number), one in known if number == task and task is not None]
        around = [one for (where, _), one in known if where == thread]
        found = next(iter([*same, *around]), None)
        if found is None:
            found = _Pass(self)
            # Runs when the whole backward pass is over, so that one pass makes one step.
            torch_private.after_backward(found)
        self._passes[thread, task] = found
        return found

    def commit(self, finished: "_Pass") -> None:
        """Put aside what one backward pass, or one observed step, has received, to be turned into norms."""
        for place in [place for place, one in self._passes.items() if one is finished]:
            del self._passes[place]
        self.silence.end({self.modules[key.layer] for key in finished.received})
        train_step, length = self._window or (self.updates, None)
        if not finished.received:
            return
        if self._window is None:
            number = self._finished if self.updates is None else self.updates
            self._finished += 1
            if number % self.every:
                return
        scale = self.loss_reduction_scale / (1.0 if self.scaler is None else self.scaler.get_scale())
        manner = Manner(self.modules, length, self.overlapping, self.per_example, scale)
        self._waiting.append(partial(make_step, finished.received, finished.losses, manner, train_step))
        self._held += sum(scan.held() for numbered in finished.received.values() for scan in numbered.values())
        if self._held > HELD:
            self._sum_up()

    def _sum_up(self) -> None:
        waiting, self._waiting, self._held = self._waiting, [], 0
        self._steps += [step() for step in waiting]

    @property
    def steps(self) -> list[Step]:
        """Everything recorded so far that is in memory."""
        self._sum_up()
        return self._steps

    def dataset(self) -> "xr.Dataset":
        """Everything recorded so far as one labelled dataset; see `rnnlab.gradients.profile`."""
        self.silence.explain({NO_BACKWARD} if self._finished else {NO_BACKWARD, NO_GRAD, NOT_CALLED}, stacklevel=2)
        newest = build(self.steps, self.modules, self.loss_reduction_scale, self.per_example)
        return newest if self.folder is None else self.folder.read(newest)

    def newest(self) -> "xr.Dataset":
        """The step that was recorded last, as `dataset` gives it, without the cost of all of them."""
        if not self.steps:
            return self.dataset().isel(step=slice(-1, None))
        newest = build(self.steps[-1:], self.modules, self.loss_reduction_scale, self.per_example)
        number = len(self.steps) - 1 + (self.folder.written if self.folder else 0)
        return newest.assign_coords(step=[number])

    def flush(self) -> None:
        """Move what was recorded from memory to the folder."""
        if self.folder is not None and (steps := self.steps):
            self.folder.write(build(steps, self.modules, self.loss_reduction_scale, self.per_example))
            steps.clear()

    def count_update(self, *_: object) -> None:
        """Called after every step of an optimiser."""
        self.updates = (self.updates or 0) + 1

    def state_dict(self) -> dict[str, Any]:
        """Everything recorded so far as tensors and primitives, for a checkpoint."""
        return {"modules": self.modules, "steps": [step.state_dict() for step in self.steps]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` wrote."""
        self.modules, self._steps = state["modules"], [Step.of(step) for step in state["steps"]]
