"""Penalties: what remedies add to the loss, from what a forward and a backward pass leave behind."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from rnnlab.cells import States
from rnnlab.cells.normalization import pad_rows
from rnnlab.layers.recurrent import Recurrent
from rnnlab.layers.stacks import recurrent_layers
from rnnlab.remedies import Penalty
from rnnlab.scan import reference
from rnnlab.scan.differentiable import KeepStates
from rnnlab.scan.observer import ScanCall


class _FollowedScan:
    """Follows one scan, by whatever engine it runs, for its outputs and the total gradients that come back.

    Args:
        call: the scan.
    """

    every_step, vectors = False, True

    def __init__(self, call: ScanCall) -> None:
        self.call, (T, B, _) = call, call.x.shape
        sizes = zip(call.cell.states, call.cell.state_sizes, strict=True)
        self.total = {name: call.x.new_zeros(T, B, size) for name, size in sizes}
        self.outputs: Tensor | None = None

    def step(self, k: int, states: States) -> None:
        for total, state in zip(self.total.values(), states, strict=True):
            state.register_hook(partial(_write, total[k, : len(state)]))

    def end(self, outputs: Tensor, history: list[States]) -> None:
        self.outputs = outputs.detach()

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        pass

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        scale = torch.exp2(exponent.double()).to(mantissa.dtype).unsqueeze(-1)
        _write(self.total[state][first : first + len(mantissa)], mantissa * scale)

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        pass


def _write(place: Tensor, gradient: Tensor) -> None:
    place.copy_(gradient.detach())


class UnrolledLayer:
    """One direction of one layer on one batch, as remedies see it: `rnnlab.remedies.Unrolled`.

    Its weights are those that the layer has now: no update may lie between the pass and the penalties on it.

    Args:
        scan: how it ran, and what came back.
    """

    def __init__(self, scan: _FollowedScan) -> None:
        self._call, self._outputs, self.gradients = scan.call, scan.outputs, tuple(scan.total.values())
        assert isinstance(self._call.module, Recurrent)
        self._weights = self._call.module.weights(self._call.layer, self._call.direction)
        self._weights.sizes = self._call.w.sizes
        self.projected = self._call.cell.project(self._weights, self._call.x.detach(), self._call.start)

    @property
    def states(self) -> States:
        return self._read

    @cached_property
    def _read(self) -> States:
        history, sizes = self._call.history, self._weights.sizes
        starts = [history[(self._call.start + k) % len(history)] for k in range(len(history))]
        with torch.no_grad():
            first = [torch.stack(state) for state in zip(*starts, strict=True)]
            read = [torch.cat([s, made])[: len(made)] for s, made in zip(first, self._made(), strict=True)]
        return tuple(read if sizes is None else [reference.without_padding(s, sizes) for s in read])

    def _made(self) -> States:
        """What every step makes, (T, B, S) for each state: the outputs where they are all of it, else taken again."""
        call, keep = self._call, KeepStates()
        if call.cell.emits_state and len(call.cell.states) == 1 and self._outputs is not None:
            return (self._outputs,)
        reference.scan(call.cell, self._weights, call.x, call.history, call.start, [keep])
        B = call.x.shape[1]
        return tuple(torch.stack([pad_rows(s, B) for s in state]) for state in zip(*keep.states, strict=True))

    def step(self, projected: Tensor, states: States) -> States:
        return self._call.cell.advance(self._weights, projected, states, self._call.start)

    def recur(self, states: States) -> Tensor:
        return self._call.cell.recur(self._weights, states[0], self._call.start)


class Followed:
    """Observes the recurrent layers of a model in one forward and one backward pass."""

    def __init__(self) -> None:
        self._scans: list[_FollowedScan] = []

    def observe(self, call: ScanCall) -> _FollowedScan:
        """Follow one scan; see `rnnlab.scan.observer`."""
        self._scans.append(_FollowedScan(call))
        return self._scans[-1]

    def leave(self, module: nn.Module, outputs: Tensor, finals: States) -> None:
        """Nothing more to follow: see `rnnlab.scan.observer`."""

    def miss(self, module: nn.Module) -> None:
        """Of a stack that no gradient can come back through nothing is asked."""

    def layers(self) -> list[UnrolledLayer]:
        """Every layer and direction, in the order in which they ran; to be asked once gradients have come back."""
        return [UnrolledLayer(scan) for scan in self._scans]


@contextmanager
def follow(model: nn.Module) -> Iterator[Followed]:
    """Follow a forward and a backward pass of a model, for `penalise`.

    Args:
        model: holds the recurrent layers.
    """
    followed, (stacks, _) = Followed(), recurrent_layers(model)
    try:
        for stack in stacks:
            stack.observers.append(followed)
        yield followed
    finally:
        for stack in stacks:
            stack.observers.remove(followed)


def penalise(followed: Followed, penalties: Iterable[Penalty]) -> None:
    """Add the gradient of penalties, summed over every layer and direction, to the weights.

    Inputs of a layer count as given, so what a penalty asks of one layer does not reach those below.

    Args:
        followed: one forward and one backward pass of the model.
        penalties: asked of each layer.
    """
    layers = followed.layers()
    asked = [penalty(layer) for penalty in penalties for layer in layers]
    found = [value for value in asked if value is not None]
    if found:
        torch.stack(found).sum().backward()
