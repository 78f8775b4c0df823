"""Is a published claim reproduced? Decided by tests whose tolerance was fixed beforehand, in both directions."""

import bisect
import math
from collections.abc import Iterable
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from rnnlab.statistics.comparisons import SIGNIFICANT, paired_contest, seeds_needed
from rnnlab.statistics.intervals import Interval, student_mean

Verdict = Literal["reproduced", "contradicted", "inconclusive", "not run"]
MOST_SEEDS = 10_000
"""Who needs more has a difference of nothing."""


class Decision(NamedTuple):
    """What the values of all seeds say of one claim.

    Attributes:
        verdict: reproduced, contradicted or inconclusive.
        measured: mean over seeds with its 95% interval.
        seeds: how many would do at this mean and spread, where it is inconclusive; None where none would.
    """

    verdict: Verdict
    measured: Interval
    seeds: int | None = None


def decide_exact(values: Iterable[float], expected: float, tolerance: float) -> Decision:
    """Hold every value against a law, which one single exception refutes.

    Args:
        values: one a seed.
        expected: what the law says.
        tolerance: largest difference that rounding explains.
    """
    data = np.asarray(list(values), dtype=float)
    if not len(data):
        return Decision("not run", Interval.unknown())
    holds = bool(np.all(np.abs(data - expected) <= tolerance))  # not a number is no agreement
    measured = Interval(float(data.mean()), float(data.min()), float(data.max()))
    return Decision("reproduced" if holds else "contradicted", measured)


def decide_level(values: Iterable[float], low: float, high: float) -> Decision:
    """Test whether a mean lies within a tolerance: two one-sided t-tests, each at 5%.

    It is contradicted where the mean's 95% interval lies wholly outside, and where a value is no number.

    Args:
        values: one a seed.
        low: lower end of the tolerance.
        high: upper end.

    Reference: Schuirmann 1987, "A Comparison of the Two One-Sided Tests Procedure and the Power Approach for Assessing
        the Equivalence of Average Bioavailability".
    """
    data = np.asarray(list(values), dtype=float)
    if not len(data):
        return Decision("not run", Interval.unknown())
    if not np.isfinite(data).all():
        return Decision("contradicted", Interval(math.nan, math.nan, math.nan))
    measured = student_mean(data)
    if len(data) < 2:
        return Decision("inconclusive", measured, 2)
    half = _one_sided(len(data)) * _spread(data) / math.sqrt(len(data))
    if measured.value - half >= low and measured.value + half <= high:
        return Decision("reproduced", measured)
    if measured.high < low or measured.low > high:
        return Decision("contradicted", measured)
    gap = min(abs(measured.value - low), abs(measured.value - high))
    return Decision("inconclusive", measured, _seeds_for(data, gap, least=2))


def decide_ordering(ahead: Iterable[float], behind: Iterable[float] | float, margin: float = 0.0) -> Decision:
    """Test whether one arm is smaller than another, or than a number, on the same seeds: a permutation test at 5%.

    The direction is part of the claim, so the test is one-sided, and the same test the other way round contradicts it.
    Five seeds are the fewest that can show anything.

    Args:
        ahead: what is claimed to be smaller, one a seed.
        behind: what is claimed to be larger, on the same seeds; or a number.
        margin: by how much, at least.

    Returns:
        The decision; measured is the difference behind - ahead, with its BCa interval.
    """
    one = np.asarray(list(ahead), dtype=float)
    two = np.full(len(one), behind) if isinstance(behind, int | float) else np.asarray(list(behind), dtype=float)
    if not len(one):
        return Decision("not run", Interval.unknown())
    if not np.isfinite(one).all():  # it diverged: nothing is smaller than anything
        return Decision("contradicted", Interval.unknown())
    two = np.where(np.isnan(two), np.inf, two)
    if not np.isfinite(two).all():  # a rival that diverged is behind by any margin; as far as the others are, at least
        finite = two[np.isfinite(two)]
        two[~np.isfinite(two)] = finite.max() if len(finite) else one.max() + 2 * margin + 1
    contest = paired_contest(two - margin, one, np.random.default_rng(0))
    gap = contest.difference.value
    measured = Interval(*(bound + margin for bound in contest.difference))
    if contest.p / 2 <= SIGNIFICANT and gap != 0:
        return Decision("reproduced" if gap > 0 else "contradicted", measured)
    least = max(seeds_needed(1) - 1, len(one) + 1)
    return Decision("inconclusive", measured, _seeds_for(two - margin - one, abs(gap), least))


def overall(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of a claim in parts: reproduced where every part is, contradicted where any is.

    That all parts are reproduced by chance alone happens no more often than that one is, so nothing is corrected.
    """
    found = list(verdicts)
    if not found or "not run" in found:
        return "not run"
    for verdict in ("contradicted", "inconclusive"):
        if verdict in found:
            return verdict
    return "reproduced"


def _one_sided(count: int) -> float:
    """Student's quantile of a one-sided test at 5%."""
    return float(special.stdtrit(count - 1, 1 - SIGNIFICANT))


def _spread(data: np.ndarray) -> float:
    return float(data.std(ddof=1))


def _seeds_for(data: np.ndarray, gap: float, least: int) -> int | None:
    """Fewest seeds with which a mean so far from the edge would be told from it."""
    if gap <= 0 or len(data) < 2:
        return None if gap <= 0 else least
    spread, counts = _spread(data), range(max(least, 2), MOST_SEEDS)
    at = bisect.bisect_left(counts, True, key=lambda n: _one_sided(n) * spread / math.sqrt(n) <= gap)
    return counts[at] if at < len(counts) else None
