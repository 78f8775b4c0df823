"""Runs a cell over time: by kernels written by hand, compiled from its equations, or of torch's own, or by a loop."""

import functools
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell, MemberWeights, States, Weights
from rnnlab.common import torch_private
from rnnlab.scan import compiled, fused, members, native, reference
from rnnlab.scan.mapped import scan_mapped
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.passage import Passage
from rnnlab.scan.shadow import Shadows

ENGINES = (native, compiled, fused)
"""The first one that can take a call takes it."""


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
        for engine in ENGINES:
            if engine.supports(cell, w, x, history) and engine.pays(w, x):
                if torch_private.is_transforming():
                    return _scan_mapped(engine, cell, w, x, history, start, observers)
                y, after = engine.run(cell, w, x, history, start, observers, shadows)
                for observer in observers:
                    observer.end(y, after)
                return y, after
    if shadows is None or len(history) > 1:
        return reference.scan(cell, w, x, history, start, observers)
    passage = Passage(shadows, cell, len(x), observers)
    return passage.leave(*reference.scan(cell, w, *passage.enter(x, history), start, observers))


def _scan_mapped(
    engine: ModuleType,
    cell: Cell,
    w: Weights,
    x: Tensor,
    history: Sequence[States],
    start: int,
    observers: Sequence[ScanObserver],
) -> tuple[Tensor, list[States]]:
    def run(w: MemberWeights, x: Tensor, history: Sequence[States], cells: Sequence[Cell]) -> Any:
        return engine.run(cell, w, x, history, start, observers, None, cells)

    return scan_mapped(run, cell, w, x, history)


def scan_members(
    cells: Sequence[Cell],
    w: MemberWeights,
    x: Tensor,
    history: Sequence[States],
    start: int = 0,
    observers: Sequence[ScanObserver] = (),
    shadows: Shadows | None = None,
) -> tuple[Tensor, list[States]]:
    """Run P cells at once, each with weights, inputs and states of its own, by the fastest way that serves all.

    Everything that a member yields, gradients and norms included, is to the bit what it yields in any other company,
    and in a population of one: the parts that its batch is cut into are those that it would have alone, and what torch
    computes for it lies in memory of its own. A member that holds NaN or infinity touches no other.

    Args:
        cells: P equations, alike but for their numbers (`dt`, `zoneout`, ...).
        w: their weights, (P, ...) each, and running statistics, which are brought up to date in place; `w.generators`
            are the members' sources of zoneout noise.
        x: (P, T, B, I), with any strides; members that share their inputs may be expanded.
        history: as many states as the layers are dilated, (P, B, S) each.
        start: absolute time of the first step.
        observers: are told of the backward pass of all members at once: `norms` gets (P, T, B), `gradients`
            (P, T, B, S) and (P, T, B), `underflowed` (P, T, B). With the reference scan this is once the pass is over.
        shadows: as in `scan`, with members first.

    Returns:
        (P, T, B, output_size) the outputs, and the states after the last step, (P, B, S) each. A loss of the final
        states alone sends no gradient of the size of the outputs back.

    Raises:
        ValueError: if the cells differ in more than numbers, or an observer wants to see every step.
    """
    cell = cells[0]
    if any(observer.every_step for observer in observers):
        raise ValueError("stacked members show no single steps: trace one member at a time")
    if not _are_alike(tuple(cells)):
        raise ValueError("stacked members must be cells that are alike but for their numbers")
    for engine in ENGINES:
        if engine.supports(cell, w, x, history, cells) and engine.pays(w, x):
            return engine.run(cell, w, x, history, start, observers, shadows, cells)
    return members.scan(cells, w, x, history, start, observers)


def scan_side_by_side(
    cells: Sequence[Cell], w: MemberWeights, x: Tensor, history: Sequence[States], start: int = 0
) -> tuple[Tensor, list[States]]:
    """`scan_members` for a batch that holds the examples of one member after those of another.

    Args:
        cells: as of `scan_members`.
        w: likewise.
        x: (T, P*B, I).
        history: (P*B, S) each.
        start: absolute time of the first step.

    Returns:
        (T, P*B, output_size) the outputs, and the states after the last step, (P*B, S) each.
    """
    P = len(cells)
    before = [tuple(s.unflatten(0, (P, -1)) for s in states) for states in history]
    y, after = scan_members(cells, w, x.unflatten(1, (P, -1)).transpose(0, 1), before, start)
    return y.transpose(0, 1).flatten(1, 2), [tuple(s.flatten(0, 1) for s in states) for states in after]


@functools.lru_cache(maxsize=256)
def _are_alike(cells: tuple[Cell, ...]) -> bool:
    """Whether cells differ in numbers alone."""
    return len({(type(cell), compiled.structure(cell), cell.state_sizes) for cell in cells}) == 1


def prepare(
    cell: Cell, dilations: Iterable[int], dtype: torch.dtype, say: Callable[[str], object] | None = None
) -> None:
    """Compile what layers of a cell need, so that this counts in no measurement.

    Args:
        cell: any cell.
        dilations: those of its layers; the kernels written by hand know none but 1.
        dtype: of its weights.
        say: told in one line that something is compiled, which takes some seconds, once a machine.
    """
    by_hand = native.serves(cell)
    if by_hand and 1 in dilations:
        native.prepare(cell, say)
    if not by_hand or any(dilation > 1 for dilation in dilations):
        compiled.prepare(cell, dtype, say)
