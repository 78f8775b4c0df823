"""A scan in segments that are computed again on the way back, so that memory grows with their length alone."""

import copy
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from rnnlab.cells import Cell, States, Weights
from rnnlab.common.errors import UserError
from rnnlab.scan import scan
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.shadow import Shadows, joined

T = TypeVar("T", Tensor, Tensor | None)


class _Shifted:
    """Tells an observer of one segment's steps at their place in the whole."""

    def __init__(self, observer: ScanObserver, first: int) -> None:
        self.observer, self.first = observer, first
        self.every_step, self.vectors = observer.every_step, observer.vectors

    def step(self, k: int, states: States) -> None:
        self.observer.step(self.first + k, states)

    def end(self, outputs: Tensor, history: list[States]) -> None:
        pass

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        self.observer.norms(state, log2, self.first + first)

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        self.observer.gradients(state, mantissa, exponent, self.first + first)

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        self.observer.underflowed(state, where, self.first + first)


class _Segment:
    """Some steps in a row, taken once on the way forward and once more on the way back.

    Args:
        cell: the equations.
        w: the layer's weights.
        start: absolute time of its first step.
        first: the same, counted from the first step of the scan.
        every: how many there are at most.
        observers: follow the scan.
        followed: whether shadows go through it.
    """

    def __init__(
        self,
        cell: Cell,
        w: Weights,
        start: int,
        first: int,
        every: int,
        observers: Sequence[ScanObserver],
        followed: bool,
    ) -> None:
        self.cell, self.start, self.steps, self.followed = cell, start, slice(first, first + every), followed
        self.weights = copy.copy(w)
        self.weights.sizes = None if w.sizes is None else w.sizes[self.steps]
        self.observers = [_Shifted(observer, first) for observer in observers]

    def of(self, x: T) -> T:
        """Its part of what has a row for every step, if there is anything."""
        return x if x is None else x[self.steps]

    def __call__(
        self, x: Tensor, inside: Tensor | None, passed: Sequence[Tensor | None], *flat: Tensor
    ) -> tuple[Any, ...]:
        """Outputs, their shadow, those of the last states, and these, one after the other."""
        width = len(self.cell.states)
        states = [flat[i : i + width] for i in range(0, len(flat), width)]
        own = Shadows(inside, passed) if self.followed else None
        y, states = scan(self.cell, self.weights, x, states, self.start, self.observers, own)
        left = (None, ()) if own is None else (own.y, own.finals)
        return y, *left, *(s for each in states for s in each)


def check_segments(every: object, cell: Cell, section: str = "") -> None:
    """Refuse a cell's scan in segments that could not be taken again.

    Args:
        every: steps of a segment; none for a scan that keeps all.
        cell: the equations.
        section: what stands before the name of the field where the user writes it, such as `model.`

    Raises:
        UserError: if `every` is neither a whole number from 1 on nor none, or a step taken again would differ.
    """
    if every is None:
        return
    if type(every) is not int or every < 1:
        raise UserError(
            f"{section}checkpoint_every = {every!r} must be a whole number of steps, at least 1, or none to keep "
            "all of them"
        )
    cell.check_repeatable(f"{section}checkpoint_every = {every}")


def scan_in_segments(
    cell: Cell,
    w: Weights,
    x: Tensor,
    history: Sequence[States],
    start: int = 0,
    observers: Sequence[ScanObserver] = (),
    shadows: Shadows | None = None,
    *,
    every: int,
) -> tuple[Tensor, list[States]]:
    """Run a cell over a sequence, keeping the states between segments alone; the gradients are the same.

    With √T steps a segment, memory grows with √T; the time is that of one more forward pass.

    Args:
        cell: the equations.
        w: the layer's weights.
        x: (T, B, I).
        history: the states before the first step; see `rnnlab.scan.reference.scan`.
        start: absolute time of the first step.
        observers: follow the scan.
        shadows: carry gradients of any size from scan to scan, and from segment to segment.
        every: steps of a segment.

    Raises:
        UserError: if `every` is no length, taking a step again would not repeat it, or a trace wants to see every step.

    Reference: Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost", section 3.
    """
    check_segments(every, cell)
    if any(observer.every_step for observer in observers):
        raise UserError(f"checkpoint_every = {every} does not keep the steps that a trace needs: set it to none")
    width, outputs, flat = len(cell.states), [], [s for states in history for s in states]
    passed: list[Tensor | None] = [None] * len(flat) if shadows is None else list(shadows.starts) or [None] * len(flat)
    outside: list[Tensor | None] = []
    for first in range(0, len(x), every):
        segment = _Segment(cell, w, start + first, first, every, observers, followed=shadows is not None)
        part_of_x, inside = segment.of(x), None if shadows is None else segment.of(shadows.x)
        y, y_shadow, passed, *flat = checkpoint(
            segment, part_of_x, inside, passed, *flat, use_reentrant=False, preserve_rng_state=False
        )
        outputs.append(y)
        outside.append(y_shadow)
    if shadows is not None:
        shadows.y, shadows.finals = joined(torch.cat, outside), passed
    return torch.cat(outputs), [tuple(flat[i : i + width]) for i in range(0, len(flat), width)]
