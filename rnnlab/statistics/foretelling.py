"""Does a measure foretell which runs solve their task? Judged on arms and on tasks that were left out."""

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from rnnlab.statistics.intervals import Interval, percentiles

RESAMPLES = 499
"""In each of which everything is fitted anew."""
RIDGE = 1.0
FEWEST = 5
"""Arms on either side of the pairs below which a bootstrap over arms says nothing."""
SETTINGS = ("arms", "tasks", "within", "gain")
CONSTANT, OWN_RATE, OTHERS_RATE = "constant", "the arm's own rate on other tasks", "the other arms' rate on the task"


def foretelling_table(runs: pd.DataFrame, predictors: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Judge measures, alone and together, by how they rank runs of arms, and of tasks, that they were not fitted on.

    AUC, the area under the ROC curve, is the chance that of two runs on the same task, one that solved it and one that
    did not, the first has the higher score: 1 where success is foretold, 0.5 where nothing is, less where it is
    foretold the wrong way round. Scores come from a linear regression of success on ranks within each task, which make
    tasks comparable and know nothing of who solved it; for one measure that is no more than the sign of its effect. A
    pair is ranked by a fit without either of its two arms (`arms`, `within`), or without its task (`tasks`). Scores of
    different fits are never compared: leaving out a successful arm lowers all that a fit expects, which would turn
    noise into an AUC below 0.5. Intervals are those of a bootstrap over whole arms, in which everything is fitted anew:
    with the fits held, noise whose sign is uncertain would seem surely wrong.

    Args:
        runs: one row a run: arm, task, solved (0 or 1) and the measures, NaN where a run has none, perhaps infinite.
        predictors: columns that are judged together, by name. A run that lacks all of them is left out, and one that
            lacks some counts there as an average one.

    Returns:
        One row a predictor: predictor, runs, missing, sign (1 where more of a single measure goes with success, -1
        where less does, over all runs; NaN for several together), and for each of `SETTINGS` the number with `_low`
        and `_high`: AUC across arms left out, across tasks left out, among runs of the same arm and task, and how much
        more the AUC across tasks is than that of the arm's own rate on other tasks. NaN where there is too little to
        tell.

    Reference: Airola et al. 2011, "An Experimental Comparison of Cross-validation Techniques for Estimating the Area
    Under the ROC Curve", for leaving out pairs.
    """
    return pd.DataFrame([_judged(runs, name, list(columns)) for name, columns in predictors.items()])


def baseline_table(runs: pd.DataFrame) -> pd.DataFrame:
    """What a measure has to beat, as rows of the table of `foretelling_table`.

    An arm that was left out has no rate of its own, and two runs on one task have the same rate of the other arms, so
    that the latter, like a constant, is 0.5 within every task: it tells hard tasks from easy ones and nothing else.
    """
    cases, unknown = Cases(runs, np.zeros((len(runs), 1))), Interval.unknown()
    flat, alike = _without_arms(cases)
    own, right = unknown, cases.ranked_by_own_rate()
    if cases.tasks > 1:
        (own,) = _intervals(cases, lambda weights: [cases.across(right, weights)], [False])
    rows = ((CONSTANT, flat, flat), (OWN_RATE, unknown, own), (OTHERS_RATE, flat, flat))
    found = [(name, (arms, tasks, alike, unknown)) for name, arms, tasks in rows]
    return pd.DataFrame([_row(name, len(runs), 0, math.nan, estimates) for name, estimates in found])


def ranks_within_tasks(values: ArrayLike, tasks: ArrayLike) -> np.ndarray:
    """(N,) ranks among the runs of the same task, centred, as shares of their number; NaN where there is no value."""
    by_task = pd.Series(np.asarray(values, dtype=float)).groupby(np.asarray(tasks))
    ranks, count = by_task.rank().to_numpy(float), by_task.transform("count").to_numpy(float)
    return (ranks - (count + 1) / 2) / np.maximum(count, 1)


class Cases:
    """Runs with standardised measures, and all pairs of a run that solved its task and one that did not.

    Args:
        runs: see `foretelling_table`.
        x: (N, measures).
    """

    def __init__(self, runs: pd.DataFrame, x: np.ndarray) -> None:
        solved = runs["solved"].to_numpy(bool)
        (self.arm, arms), (self.task, tasks) = (pd.factorize(runs[name], sort=True) for name in ("arm", "task"))
        self.arms, self.tasks = len(arms), len(tasks)
        one, other = np.nonzero((self.task[:, None] == self.task) & solved[:, None] & ~solved)
        self.pair_task, self.pair_arms = self.task[one], (self.arm[one], self.arm[other])
        self.alike = self.arm[one] == self.arm[other]
        self.differences = x[one] - x[other]
        terms = np.column_stack([np.ones(len(x)), solved, x])
        self.moments = np.zeros((self.arms, self.tasks, terms.shape[1], terms.shape[1]))
        np.add.at(self.moments, (self.arm, self.task), terms[:, :, None] * terms[:, None])

    def ranked_without_arms(self, weights: np.ndarray) -> np.ndarray:
        """(P,) 1 where a fit without its two arms ranks the solved run of a pair first, 0.5 where it ranks them alike.

        Args:
            weights: (arms,), how often each counts in the fit.
        """
        own = self.moments.sum(1) * weights[:, None, None]
        both = own[:, None] + own[None]
        both[np.diag_indices(self.arms)] = own
        return self._ranked(_effects(own.sum(0) - both)[self.pair_arms])

    def ranked_without_tasks(self, weights: np.ndarray) -> np.ndarray:
        """The same by a fit without the task."""
        own = np.einsum("a,atij->tij", weights, self.moments)
        return self._ranked(_effects(own.sum(0) - own)[self.pair_task])

    def ranked_by_own_rate(self) -> np.ndarray:
        """The same by the share of an arm's runs on other tasks that solve them, however often any arm counts."""
        count, solved = (own.sum(1, keepdims=True) - own for own in (self.moments[..., 0, 0], self.moments[..., 0, 1]))
        rate = np.divide(solved, count, out=np.full(count.shape, 0.5), where=count > 0)
        one, other = (rate[arm, self.pair_task] for arm in self.pair_arms)
        return np.heaviside(np.round(one - other, 12), 0.5)

    def across(self, right: np.ndarray, weights: np.ndarray) -> float:
        """AUC within each task, averaged over those with both outcomes; an arm drawn twice is no pair with itself.

        Args:
            right: (P,) of each pair.
            weights: (arms,), how often each counts.
        """
        one, other = self.pair_arms
        pairs = np.where(self.alike, weights[one], weights[one] * weights[other])
        return _mean_share(self.pair_task, pairs, right, np.ones(self.tasks))

    def within(self, right: np.ndarray, weights: np.ndarray) -> float:
        """AUC among the runs of one arm on one task, averaged over those with both outcomes; as `across`."""
        cell = self.pair_arms[0][self.alike] * self.tasks + self.pair_task[self.alike]
        return _mean_share(cell, np.ones(len(cell)), right[self.alike], np.repeat(weights, self.tasks))

    def telling(self, within: bool) -> int:
        """How many arms there is evidence of: with solved runs or with others, whichever are fewer, or with both."""
        one, other = self.pair_arms
        return len(set(one[self.alike])) if within else min(len(set(one)), len(set(other)))

    def _ranked(self, effects: np.ndarray) -> np.ndarray:
        """(P,) from the effects (P, measures) of the fit for each pair."""
        return np.heaviside(np.round(np.einsum("pm,pm->p", self.differences, effects), 12), 0.5)


def _judged(runs: pd.DataFrame, name: str, columns: list[str]) -> dict[str, object]:
    """One row of the table."""
    known = runs.dropna(subset=columns, how="all")
    x = np.column_stack([ranks_within_tasks(known[column], known["task"]) for column in columns])
    cases = Cases(known, np.nan_to_num(x))
    arms = tasks = within = gain = Interval.unknown()
    if cases.arms > 2:
        arms, within = _without_arms(cases)
    if cases.tasks > 1:
        tasks, gain = _without_tasks(cases)
    sign = float(_effects(cases.moments.sum((0, 1)))[0]) if len(columns) == 1 else math.nan
    return _row(name, len(known), len(runs) - len(known), sign, (arms, tasks, within, gain))


def _row(name: str, count: int, missing: int, sign: float, found: Sequence[Interval]) -> dict[str, object]:
    row: dict[str, object] = {"predictor": name, "runs": count, "missing": missing, "sign": sign}
    for setting, estimate in zip(SETTINGS, found, strict=True):
        row |= {setting: estimate.value, f"{setting}_low": estimate.low, f"{setting}_high": estimate.high}
    return row


def _effects(moments: np.ndarray) -> np.ndarray:
    """Ridge regression of success on the measures; of a single one only the sign counts.

    Args:
        moments: (..., 2 + measures, 2 + measures) sums of products of 1, success and the measures.

    Returns:
        (..., measures)
    """
    count = np.maximum(moments[..., :1, :1], 1)
    centred = moments[..., 1:, 1:] - moments[..., 1:, :1] * moments[..., :1, 1:] / count
    scatter, slope = centred[..., 1:, 1:], centred[..., 1:, :1]
    if scatter.shape[-1] == 1:
        return np.sign(np.round(slope[..., 0], 9))
    return np.linalg.solve(scatter + RIDGE * np.eye(scatter.shape[-1]), slope)[..., 0]


def _without_arms(cases: Cases) -> list[Interval]:
    """AUC across arms left out, and within arms."""

    def aucs(weights: np.ndarray) -> list[float]:
        right = cases.ranked_without_arms(weights)
        return [cases.across(right, weights), cases.within(right, weights)]

    return _intervals(cases, aucs, [False, True])


def _without_tasks(cases: Cases) -> list[Interval]:
    """AUC across tasks left out, and how much more it is than that of the arm's own rate on other tasks."""
    own = cases.ranked_by_own_rate()

    def aucs(weights: np.ndarray) -> list[float]:
        found = cases.across(cases.ranked_without_tasks(weights), weights)
        return [found, found - cases.across(own, weights)]

    return _intervals(cases, aucs, [False, False])


def _intervals(cases: Cases, aucs: Callable[[np.ndarray], list[float]], within: list[bool]) -> list[Interval]:
    """Numbers by how often each arm counts, each with a bootstrap over arms if enough arms tell anything of it."""
    values = aucs(np.ones(cases.arms))
    known = [
        cases.telling(inside) >= FEWEST and not math.isnan(value) for inside, value in zip(within, values, strict=True)
    ]
    found = [Interval(value, math.nan, math.nan) for value in values]
    if not any(known):
        return found
    draws = np.random.default_rng(0).multinomial(cases.arms, np.full(cases.arms, 1 / cases.arms), size=RESAMPLES)
    columns = np.array([aucs(weights) for weights in draws]).T
    return [
        Interval(one.value, *percentiles(column)) if enough else one
        for one, column, enough in zip(found, columns, known, strict=True)
    ]


def _mean_share(group: np.ndarray, weights: np.ndarray, right: np.ndarray, counts: np.ndarray) -> float:
    """Mean over groups of the weighted share that is right; NaN without any.

    Args:
        group: (P,) number of each pair's group.
        weights: (P,).
        right: (P,).
        counts: (groups,) weight of each group in the mean.
    """
    whole = np.bincount(group, weights, len(counts))
    part = np.bincount(group, weights * right, len(counts))
    known = (whole > 0) & (counts > 0)
    return float(part[known] / whole[known] @ counts[known] / counts[known].sum()) if known.any() else math.nan
