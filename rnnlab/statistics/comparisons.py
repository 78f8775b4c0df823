"""Does one arm beat another? Every pair of arms on a task, by seed, corrected for how many pairs there are."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import optimize, stats

from rnnlab.statistics.intervals import CONFIDENCE, Interval, wilson

SIGNIFICANT = 1 - CONFIDENCE
BESIDE = 1e-9


class Contest(NamedTuple):
    """How one arm fares against another.

    Attributes:
        probability: chance that a run of the one beats a run of the other, ties counting half.
        p: two-sided p-value of the hypothesis that neither is better.
    """

    probability: Interval
    p: float


def paired_contest(one: np.ndarray, other: np.ndarray) -> Contest:
    """Compare two arms seed by seed: share of seeds won with Wilson interval, and the exact sign test.

    The sign test asks nothing of the scores but their order. Over n seeds its p-value is at least 2^(1-n).

    Args:
        one: (n,) scores, higher is better.
        other: (n,) scores of the other arm on the same seeds.
    """
    wins, losses = int((one > other).sum()), int((one < other).sum())
    p = float(stats.binomtest(wins, wins + losses).pvalue) if wins + losses else 1.0
    return Contest(wilson(wins + (len(one) - wins - losses) / 2, len(one)), p)


def unpaired_contest(one: np.ndarray, other: np.ndarray) -> Contest:
    """Compare two arms that share no seeds: every run against every run, and the Mann-Whitney test.

    Args:
        one: (m,) scores, higher is better.
        other: (n,) scores of the other arm.

    Reference: Newcombe 2006, "Confidence intervals for an effect size measure based on the Mann-Whitney statistic.
        Part 2: asymptotic methods and evaluation", method 5, which inverts the variance of Hanley and McNeil 1982.
    """
    m, n = len(one), len(other)
    won = float((np.sign(one[:, None] - other).mean() + 1) / 2)
    z2 = float(stats.norm.ppf((1 + CONFIDENCE) / 2)) ** 2

    def excess(theta: float) -> float:
        rest = (m + n) / 2 - 1
        spread = 1 + rest * (1 - theta) / (2 - theta) + rest * theta / (1 + theta)
        return float((won - theta) ** 2 - z2 * theta * (1 - theta) * spread / (m * n))

    # The estimate itself lies between the two bounds; at 0 and 1 it solves the equation too, and is passed by.
    low = optimize.root_scalar(excess, bracket=(0, won - BESIDE)).root if won > 0 else 0.0
    high = optimize.root_scalar(excess, bracket=(won + BESIDE, 1)).root if won < 1 else 1.0
    p = float(stats.mannwhitneyu(one, other).pvalue)
    return Contest(Interval(won, low, high), 1.0 if math.isnan(p) else p)


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


def comparisons(runs: pd.DataFrame, scores: pd.Series, reference: str | None) -> pd.DataFrame:
    """Compare every two arms on one task.

    Arms are paired by seed where they have the same seeds, one run each; otherwise every run of the one meets every
    run of the other, so that none is dropped.

    Args:
        runs: final runs of one task.
        scores: what each counts with, higher is better, NaN where it does not count; the index of `runs`.
        reference: the arm that others are to improve on, which is always the `other`; None if there is none.

    Returns:
        One row a pair: task, arm, other, paired, runs (of the arm), other_runs, probability, low, high (chance that
        the arm beats the other), p, p_all (corrected for all pairs of the task), p_reference (corrected for the
        pairs with the reference alone, NaN for others).
    """
    counted = runs.assign(goodness=scores).dropna(subset="goodness").sort_values(["arm", "seed"])
    by_arm = {str(arm): group for arm, group in counted.groupby("arm")}
    pairs = [(b, a) if a == reference else (a, b) for a, b in itertools.combinations(sorted(by_arm), 2)]
    rows = [_compare(by_arm, *pair) for pair in pairs]
    columns = ["arm", "other", "paired", "runs", "other_runs", "probability", "low", "high", "p"]
    table = pd.DataFrame(rows, columns=columns)
    table.insert(0, "task", runs["task"].iloc[0] if len(runs) else "")
    table["p_all"] = holm(table["p"].tolist())
    against = table["other"] == reference
    table["p_reference"] = math.nan
    table.loc[against, "p_reference"] = holm(table.loc[against, "p"].tolist())
    return table


def _compare(by_arm: dict[str, pd.DataFrame], arm: str, other: str) -> list[object]:
    a, b = by_arm[arm], by_arm[other]
    paired = a["seed"].is_unique and a["seed"].tolist() == b["seed"].tolist()
    one, two = a["goodness"].to_numpy(float), b["goodness"].to_numpy(float)
    contest = paired_contest(one, two) if paired else unpaired_contest(one, two)
    return [arm, other, paired, len(a), len(b), *contest.probability, contest.p]
