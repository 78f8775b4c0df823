"""Runs a cell over time: by hand-written kernels, by a step compiled from its equations, or step by step."""

from collections.abc import Callable, Sequence
from types import ModuleType

import torch
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
    if w.members is not None:
        return _side_by_side(cell, w, x, history, start)
    engine = None if any(observer.every_step for observer in observers) else _engine(cell, w, x, history)
    if engine is None:
        return reference.scan(cell, w, x, history, start, observers)
    return engine.run(cell, w, x, history, start, observers, shadows)


def _engine(cell: Cell, w: Weights, x: Tensor, history: Sequence[States]) -> ModuleType | None:
    """The fastest one that takes a call and pays; none where the reference has to."""
    return next((e for e in (native, compiled) if e.supports(cell, w, x, history) and e.pays(w, x)), None)


def _side_by_side(
    cell: Cell, w: Weights, x: Tensor, history: Sequence[States], start: int
) -> tuple[Tensor, list[States]]:
    """Run P layers over (T, P*B, I), the examples of one after those of another; each as it runs alone, to the bit."""
    assert w.members is not None
    P = len(w.members)
    xs = x.unflatten(1, (P, -1)).transpose(0, 1)  # (P, T, B, I)
    before = [tuple(s.unflatten(0, (P, -1)) for s in states) for states in history]  # (P, B, S) each
    own = [[tuple(s[member] for s in states) for states in before] for member in range(P)]
    if _engine(cell, w.of(0), xs[0], own[0]) is native:
        y, after = native.run(cell, w, xs, before, start)
        return y.transpose(0, 1).flatten(1, 2), [tuple(s.flatten(0, 1) for s in states) for states in after]
    each = [scan(cell, w.of(member), xs[member], own[member], start) for member in range(P)]
    ys, afters = zip(*each, strict=True)
    return torch.cat(ys, 1), [tuple(map(torch.cat, zip(*phase, strict=True))) for phase in zip(*afters, strict=True)]


def prepare(cell: Cell, say: Callable[[str], object] | None = None) -> None:
    """Compile what a cell needs, so that this counts in no measurement.

    Args:
        cell: any cell.
        say: told in one line that something is compiled, which takes some seconds, once a machine.
    """
    (native if native.serves(cell) else compiled).prepare(cell, say)
