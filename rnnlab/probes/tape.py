"""Take down a forward and a backward pass of a whole model as traces."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from rnnlab.cells import States, Weights
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import recurrent_layers
from rnnlab.probes.trace import Trace, leaf
from rnnlab.scan.observer import ScanCall


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
                state.register_hook(lambda g, at=(i, phase): self.left.__setitem__(at, g.detach()))

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        """Not called: this observer sees every step."""

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        """Not called: this observer sees every step."""

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        """Not called: this observer sees every step."""

    def _take_outputs(self, gradient: Tensor) -> None:
        self.outputs = gradient.detach()

    def trace(self) -> Trace:
        """Everything in one value."""
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
            weights=self.weights,
            training=call.w.training,
            start=call.start,
            dilation=len(call.history),
            order=call.order,
            noise=_stacked_noise(call.w.drawn or [], T, B),
            x=call.x.detach(),
            u=self.u,
            before=tuple(before),
            after=tuple(after),
            total=tuple(total),
            direct=(),
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
            (found,) = torch.autograd.grad(emitted, h, self.outputs)
            direct[0].add_(found)
        for (i, phase), gradient in self.left.items():
            for b in range(trace.batch_size):
                length = sum(size > b for size in trace.sizes)
                last = [k for k in range(max(0, length - trace.dilation), length)
                        if (trace.start + k) % trace.dilation == phase]  # fmt: skip
                if last:
                    direct[i][last[0], b] += gradient[b]
        return direct


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
        self.layers, self.first = recurrent_layers(model)
        self._transcripts: list[_ScanTranscript] = []

    def observe(self, call: ScanCall) -> _ScanTranscript:
        """Follow one scan; see `rnnlab.scan.observer`."""
        layer = self.first[id(call.module)] + call.layer
        if any(t.layer == layer and t.call.direction == call.direction for t in self._transcripts):
            raise UserError(
                f"layer {layer} runs twice inside one trace, which follows one forward and one backward pass: "
                "open a trace for each"
            )
        call.w.drawn = []
        weights = {name: tensor.detach().clone() for name, tensor in call.w.tensors.items()}
        frozen = Weights({name: tensor.clone() for name, tensor in weights.items()}, call.w.training, call.w.sizes)
        with torch.no_grad():
            u = call.cell.project(frozen, call.x, call.start)
        transcript = _ScanTranscript(call, layer, u, weights)
        self._transcripts.append(transcript)
        return transcript

    def leave(self, module: nn.Module, outputs: Tensor, finals: States) -> None:
        """Nothing more to follow: see `rnnlab.scan.observer`."""

    @cached_property
    def traces(self) -> list[Trace]:
        """One trace for each layer and direction, in order.

        Raises:
            UserError: if nothing ran, or no gradient came back yet.
        """
        if not any(t.total for t in self._transcripts):
            raise UserError(
                "the trace is empty: call the model and loss.backward() inside `with rnnlab.trace(model)`; where all "
                "weights are frozen, call requires_grad_() on the input"
            )
        return [t.trace() for t in sorted(self._transcripts, key=lambda t: (t.layer, t.call.direction))]


@contextmanager
def trace(model: nn.Module) -> Iterator[Tape]:
    """Follow one forward and one backward pass of every recurrent layer of a model, for the probes.

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
