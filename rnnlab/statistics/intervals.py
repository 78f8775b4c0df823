"""Estimates with their 95% confidence intervals."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special, stats

CONFIDENCE = 0.95
NORMAL = float(special.ndtri((1 + CONFIDENCE) / 2))
"""Quantile of the normal distribution at the upper bound."""
RESAMPLES = 9999


class Interval(NamedTuple):
    """An estimate and the bounds of its 95% confidence interval; NaN where there is none."""

    value: float
    low: float
    high: float

    @classmethod
    def unknown(cls) -> "Interval":
        """What is known of nothing."""
        return cls(math.nan, math.nan, math.nan)

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def student(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over the first axis, and half the width of its interval by Student's t.

    Args:
        values: (N, ...) independent draws, such as those of fresh seeds; NaN is left out.

    Returns:
        (...) each; NaN where there is no value, or for the width no two.
    """
    count = np.isfinite(values).sum(0)
    known, several = count > 0, count > 1
    mean = np.divide(np.nansum(values, 0), count, out=np.full(count.shape, np.nan), where=known)
    spread = np.nansum((values - mean) ** 2, 0)
    error = np.sqrt(spread[several] / (count[several] - 1) / count[several])
    half = np.full(count.shape, np.nan)
    half[several] = special.stdtrit(count[several] - 1, (1 + CONFIDENCE) / 2) * error
    return mean, half


def student_mean(values: Iterable[float]) -> Interval:
    """Estimate the mean of independent values, one a seed, with its interval by Student's t."""
    mean, half = (float(x[0]) for x in student(np.asarray(list(values), dtype=float)[:, None]))
    return Interval(mean, mean - half, mean + half)


def bootstrap_mean(values: Iterable[float], generator: np.random.Generator) -> Interval:
    """Estimate a mean with a bias-corrected and accelerated (BCa) bootstrap interval.

    The interval is too narrow for few values: over 3 normal ones it covers the mean about 3 times in 4, over
    30 about 19 times in 20.

    Args:
        values: independent draws, such as the scores of fresh seeds; their order does not matter.
        generator: draws the resamples.

    Returns:
        Mean and bounds. One value has no interval: its bounds are NaN. Equal values have one of width zero.

    Reference: Efron 1987, "Better Bootstrap Confidence Intervals".
    """
    data = np.sort(np.asarray(list(values), dtype=float))
    if data.size == 0:
        return Interval.unknown()
    if data.size == 1:
        return Interval(float(data[0]), math.nan, math.nan)
    if data[0] == data[-1]:  # the acceleration of BCa is 0/0 here
        return Interval(float(data[0]), float(data[0]), float(data[0]))
    bounds = stats.bootstrap(
        (data,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="BCa", rng=generator
    ).confidence_interval
    return Interval(float(data.mean()), float(bounds.low), float(bounds.high))


def bootstrap_difference(one: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> Interval:
    """Estimate how much larger the mean of one group is than that of another, with a BCa bootstrap interval.

    Args:
        one: (m,) independent draws.
        other: (n,) independent draws of the other group.
        generator: draws the resamples.

    Returns:
        Difference and bounds; NaN bounds where a group has a single value, none in width where neither varies.
    """
    value = float(np.mean(one) - np.mean(other))
    if min(len(one), len(other)) < 2:
        return Interval(value, math.nan, math.nan)
    if np.ptp(one) == 0 == np.ptp(other):  # the acceleration of BCa is 0/0 here
        return Interval(value, value, value)
    bounds = stats.bootstrap(
        (np.sort(one), np.sort(other)),
        lambda a, b, axis=-1: a.mean(axis) - b.mean(axis),
        confidence_level=CONFIDENCE,
        n_resamples=RESAMPLES,
        method="BCa",
        rng=generator,
    ).confidence_interval
    return Interval(value, float(bounds.low), float(bounds.high))


def mean(values: np.ndarray) -> np.ndarray:
    """Average the last axis."""
    return values.mean(-1)


def interquartile_mean(values: np.ndarray) -> np.ndarray:
    """Average the middle half of the last axis, which a single lucky or failed run cannot move.

    A quarter of the values, rounded down, is left out at either end: of 5 the middle 3 count, of 3 all.

    Args:
        values: (..., n).

    Returns:
        (...).

    Reference: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice".
    """
    return stats.trim_mean(values, 0.25, axis=-1)


def stratified_bootstrap(
    strata: Sequence[np.ndarray], statistic: Callable[[np.ndarray], np.ndarray], generator: np.random.Generator
) -> Interval:
    """Estimate a statistic of several groups of runs together, with a percentile bootstrap interval.

    Every resample draws as many values from each group as it has, so that the share of each group, such as a task,
    is the same in all of them and differences between groups add nothing to the uncertainty.

    Args:
        strata: the values of each group; their order does not matter.
        statistic: reduces the last axis, as `mean` and `interquartile_mean` do.
        generator: draws the resamples.

    Returns:
        Statistic and bounds. Where no group holds two values there is no interval.

    Reference: Agarwal et al. 2021, "Deep Reinforcement Learning at the Edge of the Statistical Precipice", section 4.1.
    """
    groups = [np.sort(np.asarray(values, dtype=float)) for values in strata if len(values)]
    if not groups:
        return Interval.unknown()
    value = float(statistic(np.concatenate(groups)))
    if max(map(len, groups)) < 2:
        return Interval(value, math.nan, math.nan)
    draws = [group[generator.integers(len(group), size=(RESAMPLES, len(group)))] for group in groups]
    return Interval(value, *percentiles(statistic(np.concatenate(draws, axis=-1))))


def percentiles(draws: np.ndarray) -> tuple[float, float]:
    """Bounds that hold the middle 95% of bootstrap draws, undefined ones (NaN) left out."""
    tail = (1 - CONFIDENCE) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def wilson(successes: float, n: float) -> Interval:
    """Estimate a fraction with its Wilson score interval.

    Args:
        successes: how many of `n` succeeded; a half counts where one is undecided.
        n: how many there were.

    Returns:
        Fraction and bounds; NaN for n = 0.

    Reference: Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference".
    """
    if n == 0:
        return Interval.unknown()
    p, z2 = successes / n, NORMAL**2
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (p * (1 - p) / n + z2 / (4 * n**2))) / (1 + z2 / n)
    # Rounding must not put the bounds beside a fraction of 0 or 1.
    return Interval(p, min(p, max(0.0, centre - half)), max(p, min(1.0, centre + half)))
