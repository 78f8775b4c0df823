"""Take down a forward and a backward pass of a whole model as traces."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise

import torch
from torch import Tensor, nn

from rnnlab.cells import States, Weights
from rnnlab.common import torch_private
from rnnlab.common.errors import UserError
from rnnlab.gradients.silence import FROZEN, NO_BACKWARD, NO_GRAD, Silence
from rnnlab.layers.recurrent import Recurrent
from rnnlab.layers.stacks import recurrent_layers
from rnnlab.probes.trace import Trace, leaf, plain_arithmetic
from rnnlab.scan.observer import ScanCall
from rnnlab.scan.order import Order


@dataclass(eq=False)
class _ScanTranscript:
    """Takes down one scan and what comes back through it."""

    call: ScanCall
    layer: int
    u: Tensor
    weights: dict[str, Tensor]
    before: list[States] = field(default_factory=list)
    after: list[States] = field(default_factory=list)
    total: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    outputs: Tensor | None = None
    left: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """Gradients of the states that the scan leaves, by state and phase of the dilation."""
    handed_on: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """What of them is no loss's, but comes from a call that goes on with this sequence."""
    entered: dict[tuple[int, int], Tensor] = field(default_factory=dict)
    """Gradients of the states that it starts from, where they have been computed."""

    every_step = True
    vectors = False

    def step(self, k: int, states: States) -> None:
        dilation = len(self.call.history)
        old = self.call.history[(self.call.start + k) % dilation] if k < dilation else self.after[k - dilation]
        self.before.append(tuple(s.detach()[: len(states[0])] for s in old))
        self.after.append(tuple(s.detach() for s in states))
        for i, state in enumerate(states):
            state.register_hook(lambda g, at=(i, k): self.total.__setitem__(at, g.detach()))

    def end(self, outputs: Tensor, history: list[States]) -> None:
        if outputs.requires_grad:
            outputs.register_hook(self._take_outputs)
        for phase, states in enumerate(history):
            for i, state in enumerate(states):
                state.register_hook(partial(_note, self.left, (i, phase)))

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        """Not called: this observer sees every step."""

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        """Not called: this observer sees every step."""

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        """Not called: this observer sees every step."""

    def _take_outputs(self, gradient: Tensor) -> None:
        self.outputs = gradient.detach()

    def goes_on_with(self, earlier: "_ScanTranscript") -> bool:
        """Whether this scan starts where another one ended, with the very states that it left."""
        call, other = self.call, earlier.call
        if (self.layer, call.direction, other.direction) != (earlier.layer, "forward", "forward"):
            return False
        stop, d = other.start + len(earlier.after), len(other.history)
        if call.start != stop or len(call.history) != d or call.order.sizes or other.order.sizes:
            return False
        each = [(s, *pair) for s, pair in zip(call.history, self._left_by(earlier), strict=True)]
        return all(
            now.grad_fn is not None and torch.equal(now, then)
            for states, *left in each
            for now, then in zip(states, left, strict=True)
        )

    def _left_by(self, earlier: "_ScanTranscript") -> list[States]:
        """The states that another scan has left, in the order of their phases."""
        d, states = len(earlier.call.history), list(earlier.call.history)
        for k, after in list(enumerate(earlier.after))[-d:]:
            states[(earlier.call.start + k) % d] = after
        return states

    def trace(self) -> Trace:
        """Everything in one value, in float32 at least."""
        call, cell = self.call, self.call.cell
        T, B = call.x.shape[:2]
        stack = [torch.zeros(T, B, size, dtype=s.dtype, device=s.device) for size, s in
                 zip(cell.state_sizes, self.after[0], strict=True)]  # fmt: skip
        before, after, total = ([s.clone() for s in stack] for _ in range(3))
        for k, (old, new) in enumerate(zip(self.before, self.after, strict=True)):
            for i in range(len(stack)):
                before[i][k, : len(old[i])], after[i][k, : len(new[i])] = old[i], new[i]
                if (i, k) in self.total:
                    total[i][k, : len(new[i])] = self.total[i, k]
        trace = Trace(
            layer=self.layer,
            direction=call.direction,
            cell=cell,
            weights={name: _single(tensor) for name, tensor in self.weights.items()},
            training=call.w.training,
            start=call.start,
            dilation=len(call.history),
            order=call.order,
            noise=[_single(noise) for noise in _stacked_noise(call.w.drawn or [], T, B)],
            x=_single(call.x.detach()),
            u=_single(self.u),
            before=tuple(map(_single, before)),
            after=tuple(map(_single, after)),
            total=tuple(map(_single, total)),
            direct=(),
            dtype=total[0].dtype,
        )
        trace.direct = self._direct(trace)
        return trace

    def _direct(self, trace: Trace) -> States:
        """Gradient from outputs, through the cell's `emit`, and from the states that the scan left."""
        direct = tuple(torch.zeros_like(s) for s in trace.after)
        if self.outputs is not None:
            h, w = leaf(trace.after[0]), Weights(trace.weights, trace.training)
            with torch.enable_grad():
                emitted = trace.cell.emit(w, h, trace.x)
            (found,) = torch.autograd.grad(emitted, h, _single(self.outputs))
            direct[0].add_(found)
        for (i, phase), gradient in self.left.items():
            gradient = _single(gradient - self.handed_on.get((i, phase), torch.zeros_like(gradient)))
            for b in range(trace.batch_size):
                length = sum(size > b for size in trace.sizes)
                last = [k for k in range(max(0, length - trace.dilation), length)
                        if (trace.start + k) % trace.dilation == phase]  # fmt: skip
                if last:
                    direct[i][last[0], b] += gradient[b]
        return direct


def _note(found: dict[tuple[int, int], Tensor], at: tuple[int, int], gradient: Tensor | None) -> None:
    """Keep a gradient; there is none where the graph goes through another output of the same operation."""
    if gradient is not None:
        found[at] = gradient.detach()


def _single(t: Tensor) -> Tensor:
    """In float32, if it was less precise: probes have to compute."""
    return t.float() if t.is_floating_point() and t.itemsize < 4 else t


def _joined(pieces: list[_ScanTranscript]) -> Trace:
    """One trace of the calls that make up a sequence."""
    for piece, following in reversed(list(pairwise(pieces))):
        reads = {(following.call.start + k) % len(following.call.history) for k in range(len(following.after))}
        through = following.handed_on  # of the phases of a dilated layer that it does not read
        piece.handed_on = {at: g for at, g in following.entered.items() if at[1] in reads}
        piece.handed_on |= {at: g for at, g in through.items() if at[1] not in reads}
    first, *others = traces = [piece.trace() for piece in pieces]
    if not others:
        return first
    x, u = (torch.cat([getattr(trace, name) for trace in traces]) for name in ("x", "u"))
    before, after, total, direct, noise = (
        tuple(map(torch.cat, zip(*(getattr(trace, name) for trace in traces), strict=True)))
        for name in ("before", "after", "total", "direct", "noise")
    )
    return replace(first, order=Order(len(x), False), x=x, u=u, before=before, after=after, total=total, direct=direct,
                   noise=list(noise))  # fmt: skip


def _stacked_noise(drawn: list[Tensor], T: int, B: int) -> list[Tensor]:
    """Sort the noise of all steps, drawn state by state within a step, into (T, B, S) for each state that has some."""
    if not drawn:
        return []
    states = len(drawn) // T
    noise = [drawn[i].new_zeros(T, B, drawn[i].shape[-1]) for i in range(states)]
    for n, values in enumerate(drawn):
        noise[n % states][n // states, : len(values)] = values
    return noise


class Tape:
    """Observes the recurrent layers of a model and hands out their traces after `backward`."""

    def __init__(self, model: nn.Module) -> None:
        self.layers, first = recurrent_layers(model)
        # A shallow copy shares the observers of its original, and counts as a call of it.
        self.layers = list({id(layer.observers): layer for layer in reversed(self.layers)}.values())[::-1]
        self._first = {id(layer.observers): first[id(layer)] for layer in self.layers}
        names = {id(module.observers): name for name, module in model.named_modules() if isinstance(module, Recurrent)}
        self._names, self._silence = names, Silence(names.values())
        self._transcripts: list[_ScanTranscript] = []

    def first_layer(self, stack: nn.Module) -> int:
        """Number of the first layer of a stack, counted through the model."""
        return self._first[id(stack.observers)]

    def observe(self, call: ScanCall) -> _ScanTranscript:
        """Follow one scan; see `rnnlab.scan.observer`."""
        layer = self.first_layer(call.module) + call.layer
        self._silence.note(self._names[id(call.module.observers)], NO_BACKWARD)
        call.w.drawn = []
        weights = {name: tensor.detach().clone() for name, tensor in call.w.tensors.items()}
        frozen = Weights({name: tensor.clone() for name, tensor in weights.items()}, call.w.training, call.w.sizes)
        with torch.no_grad():
            u = call.cell.project(frozen, call.x, call.start)
        transcript = _ScanTranscript(call, layer, u, weights)
        for phase, states in enumerate(call.history):
            for i, state in enumerate(states):
                if state.grad_fn is not None:
                    state.register_hook(partial(_note, transcript.entered, (i, phase)))
        if torch_private.graph_task() in (None, -1):  # else a checkpoint takes the call again, on the way back
            self._transcripts.append(transcript)
        return transcript

    def leave(self, module: nn.Module, outputs: Tensor, finals: States) -> None:
        """Nothing more to follow: see `rnnlab.scan.observer`."""

    def miss(self, module: nn.Module) -> None:
        """Note a stack that no gradient can come back through."""
        self._silence.note(self._names[id(module.observers)], FROZEN if torch.is_grad_enabled() else NO_GRAD)
        self._silence.explain({FROZEN}, stacklevel=2)

    @cached_property
    def traces(self) -> list[Trace]:
        """One trace for each layer, direction and call, in order; calls that go on where one ended, with the states
        that it left and `start=`, are one.

        Raises:
            UserError: if nothing ran, or no gradient came back yet.
        """
        if not any(t.total for t in self._transcripts):
            raise UserError(
                "the trace is empty: call the model and loss.backward() inside `with rnnlab.trace(model)`; where all "
                "weights are frozen, call requires_grad_() on the input"
            )
        sequences: dict[tuple[int, str], list[list[_ScanTranscript]]] = {}
        for transcript in self._transcripts:
            of_layer = sequences.setdefault((transcript.layer, transcript.call.direction), [])
            earlier = next((pieces for pieces in of_layer if transcript.goes_on_with(pieces[-1])), None)
            if earlier is None:
                of_layer.append([transcript])
            else:
                earlier.append(transcript)
        with plain_arithmetic(self._transcripts[0].call.x.device.type):
            return [
                replace(_joined(pieces), call=call)
                for key in sorted(sequences)
                for call, pieces in enumerate(sequences[key])
            ]


@contextmanager
def trace(model: nn.Module) -> Iterator[Tape]:
    """Follow a forward and a backward pass of every recurrent layer of a model, for the probes.

    A traced layer runs by the reference scan, so gradients agree with those of an untraced one to rounding. Costs the
    memory of all states; `rnnlab.record` is the light-weight way to gradient norms alone.

    Args:
        model: any module that holds rnnlab layers (see `rnnlab.convert`).

    Returns:
        A context manager that gives the tape; `tape.traces` once `backward` has run.

    Example:
        >>> import rnnlab, torch
        >>> net = rnnlab.LSTM(2, 8)
        >>> with rnnlab.trace(net) as tape:
        ...     net(torch.randn(20, 4, 2))[0][-1].sum().backward()
        >>> tape.traces[0].total[0].shape
        torch.Size([20, 4, 8])
    """
    tape = Tape(model)
    try:
        for layer in tape.layers:
            layer.observers.append(tape)
        yield tape
    finally:
        for layer in tape.layers:
            layer.observers.remove(tape)
