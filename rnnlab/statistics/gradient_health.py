"""Does gradient health predict success? Rank correlation between how the gradient decays and how a run ends."""

import math

import numpy as np
import pandas as pd
from scipy import stats

from rnnlab.statistics.intervals import Interval, percentiles

EARLY = 0.05
"""Share of the planned updates up to which a measurement counts as early."""
RESAMPLES = 1999
BLOCKS = 20
"""In which they are computed one after the other, so that thousands of runs fit into memory."""
FEWEST = 5
"""Arms, or runs, below which a resampled correlation says nothing."""
MEASURES = {"decay_rate_init": "before training", "decay_rate_early": f"early, within {EARLY:.0%} of the updates"}


def health_table(runs: pd.DataFrame, scores: pd.Series) -> pd.DataFrame:
    """Correlate gradient decay with the score over all runs of one task, search and final alike.

    Two questions are kept apart. Over all runs, with whole arms resampled since runs of one arm are no independent
    evidence on it: do arms and settings with a slower decay score better? Within arms, by ranks inside each arm and
    phase, since fresh seeds run at better settings than most trials did: does a run with a slower decay score better
    than its like? The first may hold because of what else an arm is.

    Args:
        runs: runs of one task, with the columns decay_rate_init and decay_rate_early.
        scores: what each counts with, higher is better, NaN where it does not; the index of `runs`.

    Returns:
        One row a measure: measure, runs (with both numbers), arms, all, all_low, all_high, within, within_low,
        within_high (Spearman's ρ and 95% bounds; NaN where there is none). A positive one means: the slower the
        decay, the better the score.
    """
    rows = []
    for measure in MEASURES:
        both = runs.assign(goodness=scores).dropna(subset=[measure, "goodness"]).sort_values("run_id")
        arms, alike = (
            [group[[measure, "goodness"]].to_numpy(float) for _, group in both.groupby(keys)]
            for keys in (["arm"], ["arm", "phase"])
        )
        rows.append([measure, len(both), len(arms), *over_arms(arms), *within_groups(alike)])
    columns = ["measure", "runs", "arms", "all", "all_low", "all_high", "within", "within_low", "within_high"]
    return pd.DataFrame(rows, columns=columns)


def over_arms(arms: list[np.ndarray], seed: int = 0) -> Interval:
    """Spearman's rank correlation over all runs, its interval by a bootstrap over whole arms.

    Args:
        arms: (n, 2) values of each arm.
        seed: seeds the bootstrap.
    """
    if not arms:
        return Interval.unknown()
    generator = np.random.default_rng(seed)
    value = _spearman(np.concatenate(arms))
    if len(arms) < FEWEST or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    picks = generator.integers(len(arms), size=(RESAMPLES, len(arms)))
    counts = (picks[:, :, None] == np.arange(len(arms))).sum(1)  # (R, arms)
    draws = [_weighted_spearman(arms, block) for block in np.array_split(counts, BLOCKS)]
    return Interval(value, *percentiles(np.concatenate(draws)))


def within_groups(groups: list[np.ndarray], seed: int = 0) -> Interval:
    """Rank correlation inside groups: ranks are taken in each and centred there, so no group differs from another.

    Args:
        groups: (n, 2) values of each; one in which either number does not vary says nothing and is left out.
        seed: seeds the bootstrap, which resamples the runs of each group.
    """
    telling = [group for group in groups if (np.ptp(group, axis=0) > 0).all()]
    if sum(map(len, telling)) < FEWEST:
        return Interval.unknown()
    generator = np.random.default_rng(seed)
    value = float(_correlation([_centred_ranks(group[None]) for group in telling])[0])
    picked = [group[generator.integers(len(group), size=(RESAMPLES, len(group)))] for group in telling]
    return Interval(value, *percentiles(_correlation([_centred_ranks(draws) for draws in picked])))


def _centred_ranks(draws: np.ndarray) -> np.ndarray:
    """Ranks over the runs, centred, as shares of their number: (R, n, 2) to (R, n, 2)."""
    n = draws.shape[1]
    return (stats.rankdata(draws, axis=1) - (n + 1) / 2) / n


def _correlation(ranks: list[np.ndarray]) -> np.ndarray:
    """Correlation of centred ranks, over all groups: (R, n, 2) each to (R,)."""
    x, y = np.moveaxis(np.concatenate(ranks, axis=1), -1, 0)  # (R, N) each
    with np.errstate(invalid="ignore"):  # a resample without any spread has none
        return (x * y).sum(1) / np.sqrt((x**2).sum(1) * (y**2).sum(1))


def _spearman(values: np.ndarray) -> float:
    """Spearman's ρ of (n, 2) values; NaN where either does not vary."""
    return float(_correlation([_centred_ranks(values[None])])[0])


def _weighted_spearman(arms: list[np.ndarray], counts: np.ndarray) -> np.ndarray:
    """Spearman's ρ over all runs, where every arm is there as often as it counts: (R, arms) to (R,)."""
    arm = np.repeat(np.arange(len(arms)), [len(values) for values in arms])
    weights = counts[:, arm].astype(float)  # (R, N)
    x, y = (_weighted_ranks(values, weights) for values in np.concatenate(arms).T)
    with np.errstate(invalid="ignore"):  # a resample without any spread has none
        return (weights * x * y).sum(1) / np.sqrt((weights * x**2).sum(1) * (weights * y**2).sum(1))


def _weighted_ranks(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Centred ranks of values (N,) that are there as often as their weights (R, N) say, ties in the middle: (R, N)."""
    order = np.argsort(values)
    rising = values[order]
    starts = np.flatnonzero(np.append(True, rising[1:] != rising[:-1]))
    of_level = np.add.reduceat(weights[:, order], starts, axis=1)  # (R, levels), from the least up
    middle = np.cumsum(of_level, axis=1) - (of_level + weights.sum(1, keepdims=True)) / 2
    level = np.empty(len(values), int)
    level[order] = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(values)))
    return middle[:, level]
