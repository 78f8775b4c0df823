"""Total gradients as they come back through single scans, and how they make up a sequence."""

import math

import torch
from torch import Tensor

from rnnlab.gradients.norms import log10_norm
from rnnlab.scan.observer import ScanCall
from rnnlab.scan.shadow import underflowed


class ScanGradients:
    """Total gradients of one state in one scan, as they come back."""

    def __init__(self, call: ScanCall) -> None:
        self.start, self.order = call.start, call.order
        self.steps, self.batch_size = call.x.shape[:2]
        self.vectors_by_step: dict[int, Tensor] = {}
        self.vectors: Tensor | None = None
        self.norms: Tensor | None = None
        self.underflowed: Tensor | None = None

    def gradients(self) -> Tensor:
        """All steps in order of time, (T, B, S): zero where the loss does not reach, NaN beyond a sequence's end.

        A gradient that is not a number has overflown on its way and counts as infinite.
        """
        if self.vectors is not None:
            stacked = self.vectors
        else:
            like = next(iter(self.vectors_by_step.values()))
            stacked = like.new_zeros(self.steps, self.batch_size, like.shape[-1])
        for k, gradient in self.vectors_by_step.items():
            stacked[k, : len(gradient)] += gradient
        if self.vectors is None:
            self.underflowed = underflowed(stacked)
        return self.order.restore(self._unmeasured(stacked))

    def log10_norms(self) -> Tensor:
        """(T, B) float64 in order of time: -inf where the loss does not reach, NaN beyond a sequence's end and where
        the norm is too small to be known."""
        if self.norms is None or self.vectors_by_step:
            return log10_norm(self.gradients().cpu())
        return self.order.restore(self._unmeasured(self.norms)) * math.log10(2)

    def underflow(self) -> Tensor:
        """(T, B) in order of time: one where a gradient was too small to be measured, zero elsewhere, NaN beyond a
        sequence's end; to be asked after the norms."""
        found = torch.zeros(self.steps, self.batch_size, dtype=torch.float64)
        for k, active in enumerate(self.order.sizes or ()):
            found[k, active:] = torch.nan
        return self.order.restore(found if self.underflowed is None else found + self.underflowed.cpu())

    def _unmeasured(self, values: Tensor) -> Tensor:
        values = values.nan_to_num(torch.inf, torch.inf, -torch.inf)
        if self.underflowed is not None:
            values[self.underflowed] = torch.nan
        for k, active in enumerate(self.order.sizes or ()):
            values[k, active:] = torch.nan
        return values


def laid(pieces: list[tuple[int, Tensor]], length: int | None) -> Tensor:
    """Lay norms, (T, B) each, at their absolute time, NaN where none is.

    Without a length, pieces that say where they start and do not overlap land there too, and any others one after the
    other.
    """
    ends = [start + len(piece) for start, piece in pieces]
    if length is None:
        in_order = all(start >= end for (start, _), end in zip(pieces[1:], ends[:-1], strict=True))
        if not (in_order and ends[-1] > sum(len(piece) for _, piece in pieces)):
            return torch.cat([piece for _, piece in pieces]) if len(pieces) > 1 else pieces[0][1]
        length = ends[-1]
    elif len(pieces) == 1 and length == len(pieces[0][1]):
        return pieces[0][1]
    laid = torch.full((length, pieces[0][1].shape[1]), torch.nan, dtype=torch.float64)
    for start, piece in pieces:
        laid[start : start + len(piece)] = piece
    return laid


def added(pieces: list[tuple[int, Tensor]], length: int) -> Tensor:
    """Add gradients, (T, B, S) each, up at their absolute time; NaN where none reaches."""
    first = pieces[0][1]
    total = first.new_zeros(length, *first.shape[1:])
    reached = torch.zeros(length, dtype=torch.bool)
    for start, piece in pieces:
        total[start : start + len(piece)] += piece
        reached[start : start + len(piece)] = True
    total[~reached] = torch.nan
    return total
