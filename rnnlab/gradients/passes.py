"""Total gradients as they come back through single scans, and how they make up a sequence."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells import States
from rnnlab.gradients.norms import log10_norm
from rnnlab.scan.observer import ScanCall
from rnnlab.scan.rows import largest
from rnnlab.scan.shadow import least_trusted, underflowed


@dataclass
class Losses:
    """Where gradients came to what a stack of layers returns, in one of its calls; none where none came.

    Attributes:
        outputs: (T, B) where one came to the outputs.
        finals: (B,) where one came to the final states.
    """

    outputs: Tensor | None = None
    finals: Tensor | None = None


def follow_losses(outputs: Tensor, finals: States, losses: Callable[[], Losses]) -> None:
    """Note, in every backward pass, where gradients come to what a stack returns.

    Args:
        outputs: (T, B, D*H).
        finals: (L*D, B, S) each.
        losses: gives, during a backward pass, where to note it.
    """

    def take_outputs(gradient: Tensor | None) -> None:  # none where the graph goes through a state alone
        if gradient is not None:
            losses().outputs = (largest(gradient) != 0).cpu()

    def take_finals(gradients: tuple[Tensor | None, ...]) -> None:
        if (gradient := gradients[0]) is not None:
            found, before = (gradient.abs().amax((0, -1)) != 0).cpu(), losses().finals
            losses().finals = found if before is None else found | before

    outputs.register_hook(take_outputs)
    for state in finals:  # a hook on the tensor itself would be the user's, who may change what is handed on
        if state.grad_fn is not None:
            state.grad_fn.register_prehook(take_finals)


class ScanGradients:
    """Total gradients of one state in one scan, as they come back."""

    def __init__(self, call: ScanCall) -> None:
        self.start, self.order = call.start, call.order
        self.steps, self.batch_size = call.x.shape[:2]
        self.vectors_by_step: dict[int, Tensor] = {}
        self.vectors: Tensor | None = None
        self.norms: Tensor | None = None
        self.underflowed: Tensor | None = None
        self.losses = Losses()
        self._log10_norms: Tensor | None = None
        self.starts: dict[int, Tensor] = {}
        """Gradients of the states before the first step, (B, S), by phase of the dilation."""

    def held(self) -> int:
        """Numbers that it holds: gradients where there are some, else norms."""
        vectors = [*self.vectors_by_step.values(), *([] if self.vectors is None else [self.vectors])]
        return self.steps * self.batch_size + sum(vector.numel() for vector in vectors)

    def gradients(self) -> Tensor:
        """All steps in order of time, (T, B, S): zero where the loss does not reach, NaN beyond a sequence's end.

        A gradient that is not a number is infinite here, to tell it from one that was not measured.
        """
        if self.vectors is not None:
            stacked = self.vectors
        else:
            # A loss may reach the states before the first step alone, such as the queue of a skip through one step.
            like = next(iter([*self.vectors_by_step.values(), *self.starts.values()]))
            stacked = like.new_zeros(self.steps, self.batch_size, like.shape[-1])
        for k, gradient in self.vectors_by_step.items():
            stacked[k, : len(gradient)] += gradient
        if self.vectors is None:  # told of examples, of which zeros alone are not known
            told, found = self.underflowed, underflowed(stacked)
            self.underflowed = found if told is None else found | told & (largest(stacked) == 0)
        return self.order.restore(self._unmeasured(stacked))

    def log10_norms(self) -> Tensor:
        """(T, B) float64 in order of time: -inf where the loss does not reach, inf for what is not a number, NaN beyond
        a sequence's end and where the norm is too small to be known. To be asked when everything has come."""
        if self._log10_norms is None:
            self._log10_norms = self._taken_norms()
        return self._log10_norms

    def _taken_norms(self) -> Tensor:
        if self.norms is None or (self.vectors is not None and self.vectors_by_step):
            return log10_norm(self.gradients().cpu())
        norms = self.norms * math.log10(2)
        if self.vectors_by_step:  # of a scan in segments, of which kernels took some
            first = next(iter(self.vectors_by_step.values()))
            stacked = first.new_zeros(self.steps, self.batch_size, first.shape[-1])
            for k, gradient in self.vectors_by_step.items():
                stacked[k, : len(gradient)] = gradient
            own = torch.zeros(self.steps, 1, dtype=torch.bool)
            own[[*self.vectors_by_step]] = True
            norms = torch.where(own, log10_norm(stacked.cpu()), norms)
            lost = underflowed(stacked) & own
            self.underflowed = lost if self.underflowed is None else self.underflowed | lost
        return self.order.restore(self._unmeasured(norms))

    def underflow(self) -> Tensor:
        """(T, B) in order of time: one where a gradient was too small to be measured, zero elsewhere, NaN beyond a
        sequence's end; to be asked after the norms."""
        found = torch.zeros(self.steps, self.batch_size, dtype=torch.float64)
        for k, active in enumerate(self.order.sizes or ()):
            found[k, active:] = torch.nan
        return self.order.restore(found if self.underflowed is None else found + self.underflowed.cpu())

    def loss_enters(self, last: bool) -> Tensor:
        """(T, B) in order of time: one where a loss enters, zero elsewhere, NaN beyond a sequence's end.

        Args:
            last: whether nothing goes on from here, so that what comes to the final states is of a loss too.
        """
        outputs, finals = self.losses.outputs, self.losses.finals
        found = torch.zeros(self.steps, self.batch_size, dtype=torch.float64) if outputs is None else outputs.double()
        if last and finals is not None:
            step = torch.zeros_like(self.lengths()) if self.order.reverse else self.lengths() - 1
            found[step, torch.arange(self.batch_size)] += finals
            found.clamp_(max=1)
        for b, length in enumerate(self.lengths().tolist() if self.order.sizes else ()):
            found[length:, b] = torch.nan
        return found

    def log10_start_norms(self) -> Tensor:
        """(B,) of the states before the first step, all phases together: -inf where zero, NaN where not known."""
        gradient = torch.cat([gradient for _, gradient in sorted(self.starts.items())], -1)
        kind, norms = torch.finfo(gradient.dtype), self.order.restore_state(log10_norm(gradient.cpu()))
        if not (norms < math.log10(kind.tiny)).any():
            return norms
        first = self.log10_norms()
        beside = first[-1 if self.order.reverse else 0]
        faint = ~(beside >= math.log10(least_trusted(gradient.dtype))) & (beside != -torch.inf)
        return norms.masked_fill(faint & (norms < math.log10(kind.tiny)), torch.nan)

    def ends(self) -> Tensor:
        """(B,) the step after the last of every example, in absolute time."""
        return self.start + self.lengths()

    def lengths(self) -> Tensor:
        """(B,) number of steps of every example."""
        steps = torch.full((self.batch_size,), self.steps)
        if self.order.ended is not None:
            steps = self.order.restore_state(steps - self.order.ended.sum(0))
        return steps

    def _unmeasured(self, values: Tensor) -> Tensor:
        values = values.nan_to_num(torch.inf, torch.inf, -torch.inf)
        if self.underflowed is not None:
            values[self.underflowed] = torch.nan
        for k, active in enumerate(self.order.sizes or ()):
            values[k, active:] = torch.nan
        return values


def sequences(spans: Mapping[int, tuple[int, int]]) -> list[list[int]]:
    """Tell which calls of one layer make up one sequence.

    Args:
        spans: first step and the step after the last of every call, by its number.

    Returns:
        Numbers of the calls of each sequence. A call that starts after step 0 goes on with a sequence that ended there
        or, where steps between were cut off, before; every other one begins a sequence.
    """
    found: list[list[int]] = []
    for number in sorted(spans):
        start = spans[number][0]
        ends = [spans[calls[-1]][1] for calls in found]
        if start and start in ends:
            found[ends.index(start)].append(number)
        elif start and (before := [end for end in ends if end < start]):
            found[ends.index(max(before))].append(number)
        else:
            found.append([number])
    return found


def laid(pieces: list[tuple[int, Tensor]], length: int) -> Tensor:
    """Lay numbers, (T, B) each, at their absolute time, NaN where none is; the larger where pieces overlap."""
    if len(pieces) == 1 and length == len(pieces[0][1]):
        return pieces[0][1]
    whole = torch.full((length, max(piece.shape[1] for _, piece in pieces)), torch.nan, dtype=torch.float64)
    for start, piece in pieces:
        part = whole[start : start + len(piece), : piece.shape[1]]
        part.copy_(torch.fmax(part, piece))
    return whole


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


def ends(scans: list[ScanGradients]) -> Tensor:
    """(B,) the step after the last of every example in a sequence, of which later pieces may hold fewer examples."""
    each = [scan.ends() for scan in scans]
    if len(each) == 1:
        return each[0]
    width = max(len(one) for one in each)
    return torch.stack([F.pad(one, (0, width - len(one))) for one in each]).amax(0)


def by_lag(norms: Tensor, ends: Tensor) -> Tensor:
    """Count steps of every example back from its own last one.

    Args:
        norms: (T, B) in order of time.
        ends: (B,) the step after the last of every example.

    Returns:
        (L, B) by lag, NaN where none is known.
    """
    lag = torch.arange(max([len(norms), *ends.tolist()])).unsqueeze(1)
    step = ends[: norms.shape[1]] - 1 - lag
    known = (step >= 0) & (step < len(norms))
    return norms.gather(0, step.clamp(0, len(norms) - 1)).masked_fill(~known, torch.nan)
