"""Runs a cell over time: compiled kernels for the hot cells, the reference scan for every other."""

from collections.abc import Sequence

from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.scan import native, reference
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.shadow import Shadows


def scan(
    cell: Cell,
    w: Weights,
    x: Tensor,
    history: Sequence[States],
    start: int = 0,
    observers: Sequence[ScanObserver] = (),
    shadows: Shadows | None = None,
) -> tuple[Tensor, list[States]]:
    """Run a cell over a sequence by the fastest way that serves; see `rnnlab.scan.reference.scan` for the arguments.

    Where `shadows` are given, gradients of any size come from and reach the next scan, as long as kernels take both.
    """
    traced = any(observer.every_step for observer in observers)
    if len(history) == 1 and not traced and native.supports(cell, w, x, history[0]) and native.pays(w, x):
        outputs, states = native.run(cell, w, x, history[0], observers, shadows)
        return outputs, [states]
    return reference.scan(cell, w, x, history, start, observers)
