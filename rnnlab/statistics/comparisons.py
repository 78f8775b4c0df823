"""Does one arm beat another? Every pair of arms on a task, by seed, corrected for how many pairs there are."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from rnnlab.statistics.intervals import (
    CONFIDENCE,
    NORMAL,
    RESAMPLES,
    Interval,
    bootstrap_difference,
    bootstrap_mean,
    wilson,
)

SIGNIFICANT = 1 - CONFIDENCE
BESIDE = 1e-9
EXACT_SEEDS = 13
"""Up to so many seeds every assignment of signs is tried; beyond, as many as a bootstrap has resamples."""


class Contest(NamedTuple):
    """How one arm fares against another.

    Attributes:
        probability: chance that a run of the one beats a run of the other, ties counting half.
        difference: by how much its mean score is better, with a BCa bootstrap interval.
        p: two-sided p-value of the hypothesis that neither is better.
    """

    probability: Interval
    difference: Interval
    p: float


def paired_contest(one: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> Contest:
    """Compare two arms seed by seed: share of seeds won with Wilson interval, and a permutation test.

    If neither arm is better, each difference could as well have the other sign; the p-value is the share of all such
    assignments whose mean is as far from zero as the one found. A lost seed counts by how much it was lost. Over n
    seeds the p-value is at least 2^(1-n), see `least_p`.

    Args:
        one: (n,) scores, higher is better.
        other: (n,) scores of the other arm on the same seeds.
        generator: draws resamples, and assignments where there are too many to try all.

    Reference: Fisher 1935, "The Design of Experiments", section 21.
    """
    differences = one - other
    probability, difference = paired_chance(differences), bootstrap_mean(differences, generator)
    if len(one) < 2 or not differences.any():
        return Contest(probability, difference, 1.0)
    trials = 2 ** len(one) if len(one) <= EXACT_SEEDS else RESAMPLES
    test = stats.permutation_test(
        (differences,), np.mean, permutation_type="samples", vectorized=True, n_resamples=trials, rng=generator
    )
    return Contest(probability, difference, float(test.pvalue))


def paired_chance(differences: np.ndarray) -> Interval:
    """Estimate the chance of winning a seed from what was won and lost on each, ties counting half."""
    won = float((differences > 0).sum() + (differences == 0).sum() / 2)
    return wilson(won, len(differences))


def least_p(seeds: int, tests: int) -> float:
    """Least corrected p-value that a comparison on shared seeds can give, if one arm wins on every seed.

    Args:
        seeds: n fresh seeds an arm.
        tests: how many comparisons Holm's correction counts.
    """
    return min(1.0, 2.0 ** (1 - seeds) * tests)


def seeds_needed(tests: int) -> int:
    """Seeds an arm below which no comparison can be significant, however large the difference; see `least_p`."""
    return 1 + math.ceil(math.log2(tests / SIGNIFICANT))


def unpaired_contest(one: np.ndarray, other: np.ndarray, generator: np.random.Generator) -> Contest:
    """Compare two arms that share no seeds: every run against every run, and the Mann-Whitney test.

    Args:
        one: (m,) scores, higher is better.
        other: (n,) scores of the other arm.
        generator: draws resamples.
    """
    p = float(stats.mannwhitneyu(one, other).pvalue)
    difference = bootstrap_difference(one, other, generator)
    return Contest(unpaired_chance(one, other), difference, 1.0 if math.isnan(p) else p)


def unpaired_chance(one: np.ndarray, other: np.ndarray) -> Interval:
    """Estimate the chance that a run of the one beats a run of the other, ties counting half.

    Reference: Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
        Part 2: asymptotic methods and evaluation", method 5, which inverts the variance of Hanley and McNeil 1982.
    """
    m, n = len(one), len(other)
    won = float((np.sign(one[:, None] - other).mean() + 1) / 2)

    def excess(theta: float) -> float:
        rest = (m + n) / 2 - 1
        spread = 1 + rest * (1 - theta) / (2 - theta) + rest * theta / (1 + theta)
        return float((won - theta) ** 2 - NORMAL**2 * theta * (1 - theta) * spread / (m * n))

    # The estimate itself lies between the two bounds; at 0 and 1 it solves the equation too, and is passed by.
    low = optimize.root_scalar(excess, bracket=(0, won - BESIDE)).root if won > 0 else 0.0
    high = optimize.root_scalar(excess, bracket=(won + BESIDE, 1)).root if won < 1 else 1.0
    return Interval(won, low, high)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values of one family of tests, so that the chance of any false finding stays at its level.

    Args:
        p_values: one a test, in any order.

    Returns:
        Corrected p-values, in the same order.

    Reference: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".
    """
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(stepped, 1)
    return corrected.tolist()


def comparisons(runs: pd.DataFrame, scores: pd.Series, reference: str | None, seed: int = 0) -> pd.DataFrame:
    """Compare every two arms on one task.

    Arms are paired by seed where they have the same seeds, one run each; otherwise every run of the one meets every
    run of the other, so that none is dropped.

    Args:
        runs: final runs of one task.
        scores: what each counts with, higher is better, NaN where it does not count; the index of `runs`.
        reference: the arm that others are to improve on, which is always the `other`; None if there is none.
        seed: seeds resamples and permutations; every pair draws the same ones, so no row depends on another.

    Returns:
        One row a pair: task, arm, other, paired, runs (of the arm), other_runs, probability, low, high (chance that
        the arm beats the other), difference, difference_low, difference_high (by how much its mean score is better),
        p, p_all (corrected for all pairs of the task), p_reference (corrected for the pairs with the reference alone,
        NaN for others).
    """
    counted = runs.assign(goodness=scores).dropna(subset="goodness").sort_values(["arm", "seed"])
    by_arm = {str(arm): group for arm, group in counted.groupby("arm")}
    pairs = [(b, a) if a == reference else (a, b) for a, b in itertools.combinations(sorted(by_arm), 2)]
    rows = [_compare(by_arm, *pair, np.random.default_rng(seed)) for pair in pairs]
    columns = ["arm", "other", "paired", "runs", "other_runs", "probability", "low", "high"]
    columns += ["difference", "difference_low", "difference_high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "task", runs["task"].iloc[0] if len(runs) else "")
    table["p_all"] = holm(table["p"].tolist())
    against = table["other"] == reference
    table["p_reference"] = math.nan
    table.loc[against, "p_reference"] = holm(table.loc[against, "p"].tolist())
    return table


def _compare(by_arm: dict[str, pd.DataFrame], arm: str, other: str, generator: np.random.Generator) -> list[object]:
    a, b = by_arm[arm], by_arm[other]
    paired = a["seed"].is_unique and a["seed"].tolist() == b["seed"].tolist()
    one, two = a["goodness"].to_numpy(float), b["goodness"].to_numpy(float)
    contest = (paired_contest if paired else unpaired_contest)(one, two, generator)
    return [arm, other, paired, len(a), len(b), *contest.probability, *contest.difference, contest.p]
