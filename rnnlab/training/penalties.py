"""Penalties: what remedies add to the loss, from a pass that was followed step by step."""

from collections.abc import Iterable

import torch
from torch import Tensor

from rnnlab.cells import States
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.tape import Tape
from rnnlab.probes.trace import Trace
from rnnlab.remedies import Penalty


class UnrolledLayer:
    """One direction of one layer on one batch, as remedies see it: `rnnlab.remedies.Unrolled`.

    Args:
        stack: the layer's module, whose present weights take the steps.
        layer: counted within it.
        trace: how it ran.
    """

    def __init__(self, stack: Recurrent, layer: int, trace: Trace) -> None:
        self._cell, self._start, self._weights = stack.cell, trace.start, stack.weights(layer, trace.direction)
        self.projected = self._cell.project(self._weights, trace.x, trace.start)
        self.states, self.gradients = trace.before, trace.total

    def step(self, projected: Tensor, states: States) -> States:
        return self._cell.advance(self._weights, projected, states, self._start)

    def recur(self, states: States) -> Tensor:
        return self._cell.recur(self._weights, states[0], self._start)


def penalise(tape: Tape, penalties: Iterable[Penalty]) -> None:
    """Add the gradient of penalties, summed over every layer and direction, to the weights.

    Inputs of a layer count as given, so what a penalty asks of one layer does not reach those below.

    Args:
        tape: has followed one forward and one backward pass of the model.
        penalties: asked of each layer.
    """
    layers = []
    for trace in tape.traces:
        stack = next(s for s in reversed(tape.layers) if tape.first_layer(s) <= trace.layer)
        layers.append(UnrolledLayer(stack, trace.layer - tape.first_layer(stack), trace))
    asked = [penalty(layer) for penalty in penalties for layer in layers]
    found = [value for value in asked if value is not None]
    if found:
        torch.stack(found).sum().backward()
