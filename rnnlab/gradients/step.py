"""One recorded step: what one backward pass, or several, brought back, put together and turned into norms."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab.gradients.norms import Norms, log10_norm, over_examples
from rnnlab.gradients.passes import Losses, ScanGradients, added, by_lag, ends, laid, sequences
from rnnlab.gradients.profile import Key, Step

Received = Mapping[Key, Mapping[int, ScanGradients]]
"""What came back of each state in each call."""
Both = tuple[Sequence[np.ndarray], Sequence[np.ndarray]]
"""Quantities by time and by lag."""


class Manner(NamedTuple):
    """How a step is to be made.

    Attributes:
        modules: name of the module that each layer belongs to.
        length: T where all calls are pieces of one sequence; none where their starts tell which belong together.
        overlapping: whether pieces overlap, so that their gradients add.
        per_example: whether norms of every example are kept too.
        scale: what gradients are multiplied by.
    """

    modules: list[str]
    length: int | None
    overlapping: bool
    per_example: bool
    scale: float


class _Sequence(NamedTuple):
    """What came back of one state in one sequence.

    Attributes:
        scans: its calls.
        forward: the direction that they run in.
        ends: (B,) the step after the last of every example, in absolute time; none if that is T for all.
        length: T.
        is_last: whether nothing goes on from its final states.
    """

    scans: list[ScanGradients]
    forward: bool
    ends: Tensor | None
    length: int
    is_last: bool

    def aggregate(self, over: Callable[[Tensor], Sequence[np.ndarray]], values: Tensor) -> Both:
        """Quantities over the examples, (T,) each, of (T, B): by time and by lag."""
        whole = over(values)
        if not self.forward:  # its last step is the first in time
            return whole, [each[self.scans[0].start :] for each in whole]
        if self.ends is None:
            return whole, [each[::-1] for each in whole]
        return whole, over(by_lag(values, self.ends))

    def share(self, pieces: list[Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Share of the examples, by time and by lag, from (T, B) of every scan."""
        values = laid([(scan.start, piece) for scan, piece in zip(self.scans, pieces, strict=True)], self.length)
        (whole,), (lagged,) = self.aggregate(lambda values: [values.nanmean(1).numpy()], values)
        return whole, lagged


def make_step(
    received: Received, losses: Mapping[tuple[int, int], Losses], manner: Manner, train_step: int | None
) -> Step:
    """Turn what came back into norms.

    Args:
        received: gradients of each state, by number of the call.
        losses: where they came from, by first layer of the stack and number of the call.
        manner: how.
        train_step: updates done so far, where known.
    """
    step, found = Step({}, {}, {}, train_step), _sequences(received, losses, manner)
    for key, scans in found.items():
        stop = scans[-1].start + scans[-1].steps
        # What starts where this one ends goes on with it, as a decoder does.
        after = [scan for other in found.values() if other[0].start == stop for scan in other]
        together = [*scans, *after] if manner.length is None else [s for other in found.values() for s in other]
        length = stop if manner.length is None else manner.length
        last = ends(together)
        last = None if (last == length).all() else last
        _add(step, key, _Sequence(scans, key.direction == "forward", last, length, not after), manner)
    return step


def _sequences(
    received: Received, losses: Mapping[tuple[int, int], Losses], manner: Manner
) -> dict[Key, list[ScanGradients]]:
    """What came back of each state, one entry for each sequence that a layer has read."""
    spans: dict[str, dict[int, tuple[int, int]]] = {}
    for key, numbered in received.items():
        module = manner.modules[key.layer]
        for number, scan in numbered.items():
            scan.losses = losses.get((manner.modules.index(module), number), Losses())
            spans.setdefault(module, {})[number] = (scan.start, scan.start + scan.steps)
    found = {}
    for key, numbered in received.items():
        of_module = spans[manner.modules[key.layer]]
        for call, numbers in enumerate(sequences(of_module) if manner.length is None else [sorted(of_module)]):
            if scans := [numbered[number] for number in numbers if number in numbered]:
                found[key._replace(call=call)] = scans
    return found


def _add(step: Step, key: Key, sequence: _Sequence, manner: Manner) -> None:
    """Add the norms of one state of one sequence to a step."""
    scans, length = sequence.scans, sequence.length
    if manner.overlapping:
        logs = log10_norm(added([(scan.start, scan.gradients().cpu()) for scan in scans], length))
    else:
        logs = laid([(scan.start, scan.log10_norms()) for scan in scans], length)
    if manner.scale != 1:
        logs = logs + math.log10(manner.scale)
    whole, lagged = sequence.aggregate(over_examples, logs)
    step.norms[key], step.by_lag[key] = Norms(*whole), Norms(*lagged)
    of_losses = [scan.loss_enters(last=sequence.is_last and scan is scans[-1]) for scan in scans]
    step.losses[key], step.losses_by_lag[key] = sequence.share(of_losses)
    if any(scan.underflowed is not None and scan.underflowed.any() for scan in scans):
        lost = [scan.underflow() for scan in scans]
        step.underflowed[key], step.underflowed_by_lag[key] = sequence.share(lost)
    step.starts[key] = np.full(length, np.nan)
    for scan in scans:
        if scan.starts:
            at = scan.start if sequence.forward else scan.start + scan.steps - 1
            logs_of_start = scan.log10_start_norms().unsqueeze(0) + math.log10(manner.scale)
            step.starts[key][at] = over_examples(logs_of_start).mean[0]
    if manner.per_example:
        step.per_example[key] = logs.masked_fill(logs == torch.inf, torch.nan).numpy()
