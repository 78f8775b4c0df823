"""The reference scan: any cell over time, under autograd."""

from collections.abc import Callable

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights

Watch = Callable[[int, States], None]
"""Called with the index of every step in this call, in order of processing, and the states after it."""


def scan(
    cell: Cell, w: Weights, x: Tensor, states: States, start: int = 0, watch: Watch | None = None
) -> tuple[Tensor, States]:
    """Run a cell over a sequence.

    Args:
        cell: the equations.
        w: the layer's weights.
        x: (T, B, I).
        states: the states before the first step, (B, H) each.
        start: absolute time of the first step.
        watch: sees the states of every step as part of the graph.

    Returns:
        (T, B, H) the outputs, and the states after the last step.
    """
    outputs = []
    for k, u in enumerate(cell.project(w, x, start).unbind(0)):
        states = cell.step(w, u, states, start + k)
        if watch is not None:
            watch(k, states)
        outputs.append(states[0])
    return torch.stack(outputs), states
