"""Runs a cell over time: by hand-written kernels, by a step compiled from its equations, or step by step."""

from collections.abc import Callable, Sequence

from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.scan import compiled, native, reference
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
    if not any(observer.every_step for observer in observers):
        for engine in (native, compiled):
            if engine.supports(cell, w, x, history) and engine.pays(w, x):
                return engine.run(cell, w, x, history, start, observers, shadows)
    return reference.scan(cell, w, x, history, start, observers)


def prepare(cell: Cell, say: Callable[[str], object] | None = None) -> None:
    """Compile what a cell needs, so that this counts in no measurement.

    Args:
        cell: any cell.
        say: told in one line that something is compiled, which takes some seconds, once a machine.
    """
    (native if native.serves(cell) else compiled).prepare(cell, say)
