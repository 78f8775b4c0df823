"""The kernels, called with the states before the first step and nothing else."""

from collections.abc import Sequence

from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.scan import native
from rnnlab.scan.observer import ScanObserver


def run(
    cell: Cell, w: Weights, x: Tensor, states: States, observers: Sequence[ScanObserver] = ()
) -> tuple[Tensor, States]:
    """Outputs and final states."""
    y, (finals,) = native.run(cell, w, x, [states], 0, observers)
    return y, finals


def supports(cell: Cell, w: Weights, x: Tensor, states: States) -> bool:
    """Whether the kernels take the call."""
    return native.supports(cell, w, x, [states])
