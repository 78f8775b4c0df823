"""Record the total gradient norm at every time step while somebody else's training script runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.cells import States
from rnnlab.errors import UserError
from rnnlab.probes.total_gradient import Norms, log10_norm, over_examples
from rnnlab.scan.order import Order
from rnnlab.scan.watch import Call

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.layers import Recurrent


class Key(NamedTuple):
    """Which state of which layer: layers are counted through the whole model."""

    layer: int
    direction: str
    state: str


@dataclass
class _Piece:
    """Gradients of one state in one forward call: (active B, S) a step, none where the loss does not reach."""

    start: int
    order: Order
    batch_size: int
    gradients: list[Tensor | None]

    def stacked(self) -> Tensor:
        """All steps in order of time, (T, B, S): zero where the loss does not reach, NaN beyond a sequence's end.

        A gradient that is not a number has overflown on its way and counts as infinite.
        """
        like = next(g for g in self.gradients if g is not None)
        stacked = like.new_zeros(len(self.gradients), self.batch_size, like.shape[-1])
        for k, gradient in enumerate(self.gradients):
            active = self.batch_size if self.order.sizes is None else self.order.sizes[k]
            stacked[k, active:] = torch.nan
            if gradient is not None:
                stacked[k, :active] = gradient.nan_to_num(torch.inf, torch.inf, -torch.inf)
        self.gradients = [None] * len(self.gradients)  # the graph may be kept for another backward pass
        return self.order.restore(stacked)


class _Hooks:
    """Hangs a hook on every state of one scan.

    Autograd calls it with the gradient summed over every path: that is the total gradient, and for the cell state of
    an LSTM it includes the path through the same step's output.
    """

    def __init__(self, recorder: "Recorder", call: Call, layer: int, number: int) -> None:
        self.recorder, self.number = recorder, number
        T, B = call.x.shape[:2]
        self.pieces = {
            Key(layer, call.direction, name): _Piece(call.start, call.order, B, [None] * T)
            for name in call.module.cell.states
        }

    def step(self, k: int, states: States) -> None:
        for (key, piece), state in zip(self.pieces.items(), states, strict=True):
            state.register_hook(partial(self.recorder.receive, key, self.number, piece, k))

    def end(self, outputs: Tensor, history: list[States]) -> None:
        pass


@dataclass
class Step:
    """Norms of one recorded backward pass, (T,) or per example (T, B)."""

    norms: dict[Key, Norms]
    per_example: dict[Key, np.ndarray]
    train_step: int | None


@dataclass(eq=False)
class Recorder:
    """Collects total gradient norms of every recurrent layer of a model.

    Args:
        per_example: keep the norm of every example too.
        loss_reduction_scale: what per-example gradients are multiplied by: the batch size undoes a batch mean.
    """

    per_example: bool = False
    loss_reduction_scale: float = 1.0
    steps: list[Step] = field(default_factory=list)
    _pieces: dict[Key, dict[int, _Piece]] = field(default_factory=dict)
    _first_layer: dict[int, int] = field(default_factory=dict)
    _calls: int = 0
    _window: tuple[int | None, int] | None = None  # train step and length of the step being observed

    @contextmanager
    def attached(self, model: nn.Module) -> Iterator[None]:
        """Listen to every recurrent layer inside `model`; each backward pass becomes one step."""
        layers, self._first_layer = recurrent_layers(model)
        try:
            for layer in layers:
                layer.listeners.append(self)
            yield
        finally:
            for layer in layers:
                layer.listeners.remove(self)
            self._pieces.clear()

    @contextmanager
    def one_step(self, model: nn.Module, train_step: int, length: int) -> Iterator[None]:
        """Gather all backward passes inside the block into one step of `length` time steps.

        Pieces of a sequence that is fed piecewise land at their absolute time; where windows of truncated
        back-propagation overlap their gradients add, as they do in the weights; the rest stays NaN.
        """
        self._window = (train_step, length)
        try:
            with self.attached(model):
                yield
                self._commit()
        finally:
            self._window = None

    def watch(self, call: Call) -> "_Hooks":
        """Follow one scan; see `rnnlab.scan.watch`."""
        self._calls += 1
        return _Hooks(self, call, self._first_layer[id(call.module)] + call.layer, self._calls)

    def receive(self, key: Key, call: int, piece: _Piece, k: int, gradient: Tensor) -> None:
        """Take the gradient that one state got at step k of a scan."""
        if not self._pieces and self._window is None:
            # Runs when the whole backward pass is over, so that one pass makes one step.
            torch.autograd.Variable._execution_engine.queue_callback(self._commit)  # type: ignore[attr-defined]
        self._pieces.setdefault(key, {})[call] = piece
        piece.gradients[k] = gradient.detach()

    def _commit(self) -> None:
        """Turn the pieces of one backward pass, or of one observed step, into norms."""
        train_step, length = self._window or (None, None)
        norms, per_example = {}, {}
        for key, calls in self._pieces.items():
            pieces = [(calls[call].start, calls[call].stacked()) for call in sorted(calls)]
            gradient = torch.cat([piece for _, piece in pieces]) if length is None else _place(pieces, length)
            logs = log10_norm(gradient.cpu() * self.loss_reduction_scale)
            norms[key] = over_examples(logs)
            if self.per_example:
                per_example[key] = logs.numpy()
        self._pieces.clear()
        if norms:
            self.steps.append(Step(norms, per_example, train_step))

    def dataset(self) -> "xr.Dataset":
        """Everything recorded so far as one labelled dataset; see `rnnlab.probes.profile`."""
        from rnnlab.probes.profile import build

        return build(self.steps, self.loss_reduction_scale, self.per_example)

    def state_dict(self) -> list[dict[str, Any]]:
        """Everything recorded so far as tensors and primitives, for a checkpoint."""
        return [
            {
                "train_step": step.train_step,
                "norms": [[*key, torch.from_numpy(np.stack(norms))] for key, norms in step.norms.items()],
            }
            for step in self.steps
        ]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take up what `state_dict` wrote."""
        self.steps = [
            Step(
                {Key(*entry[:3]): Norms(*entry[3].numpy()) for entry in step["norms"]},
                {},
                step["train_step"],
            )
            for step in state
        ]


@contextmanager
def record(model: nn.Module, *, per_example: bool = False, loss_reduction_scale: float = 1.0) -> Iterator[Recorder]:
    """Record the total gradient norm of every recurrent layer at every time step.

    Nothing else in the training script changes: weights and random streams stay bit-identical. Each backward
    pass through what was called inside the block makes one step. A layer that is called several times before
    backward appears with its calls one after the other along `time`. Where sequences differ in length, `lag` counts
    from the end of the longest.

    Args:
        model: any module that holds rnnlab layers (see `rnnlab.convert`).
        per_example: keep an `example` dimension.
        loss_reduction_scale: multiplies the gradients; the batch size undoes the mean over a batch.

    Returns:
        A context manager that gives the recorder; `recorder.dataset()` is the result.

    Example:
        >>> import rnnlab, torch
        >>> net = rnnlab.LSTM(2, 8)
        >>> with rnnlab.record(net) as log:
        ...     net(torch.randn(20, 4, 2))[0][-1].sum().backward()
        >>> dict(log.dataset().sizes)["time"]
        20
    """
    recorder = Recorder(per_example, loss_reduction_scale)
    with recorder.attached(model):
        yield recorder


def _place(pieces: list[tuple[int, Tensor]], length: int) -> Tensor:
    """Add pieces up at their absolute time; NaN where none reaches."""
    first = pieces[0][1]
    if len(pieces) == 1 and len(first) == length:
        return first
    total = first.new_zeros(length, *first.shape[1:])
    reached = torch.zeros(length, dtype=torch.bool, device=first.device)
    for start, piece in pieces:
        total[start : start + len(piece)] += piece
        reached[start : start + len(piece)] = True
    total[~reached] = torch.nan
    return total


def recurrent_layers(model: nn.Module) -> tuple[list["Recurrent"], dict[int, int]]:
    """Find the recurrent layers of a model.

    Args:
        model: any module.

    Returns:
        Its stacks of layers, and for the `id` of each the number of its first layer, counted through the model.

    Raises:
        UserError: if there are none.
    """
    from rnnlab.layers import Recurrent

    stacks = [module for module in model.modules() if isinstance(module, Recurrent)]
    if not stacks:
        raise UserError(
            f"{type(model).__name__} holds no rnnlab layer to record: swap its torch layers with rnnlab.convert"
        )
    first, count = {}, 0
    for stack in stacks:
        first[id(stack)] = count
        count += stack.num_layers
    return stacks, first
