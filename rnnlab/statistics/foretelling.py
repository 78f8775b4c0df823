"""Does a measure foretell which runs solve their task? Judged on arms and on tasks that were left out."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from rnnlab.statistics.intervals import Interval, percentiles

RESAMPLES = 1999
FEWEST = 5
"""Arms on either side of the pairs below which a bootstrap over arms says nothing."""
SETTINGS = ("arms", "tasks", "within", "gain")
CONSTANT, OWN_RATE, OTHERS_RATE = "constant", "the arm's own rate on other tasks", "the other arms' rate on the task"


class Contest(NamedTuple):
    """Who was ranked right, over pairs of a run that solved its task and one that did not, (tasks, arms, arms) each.

    Attributes:
        right: pairs whose solved run, of the first arm, had the higher score; half where both had the same.
        pairs: how many there are.
    """

    right: np.ndarray
    pairs: np.ndarray

    def across(self, weights: np.ndarray) -> np.ndarray:
        """AUC within each task, averaged over the tasks with both outcomes; an arm drawn twice is no pair with itself.

        Args:
            weights: (R, arms), how often each arm counts.

        Returns:
            (R,)
        """
        shares = _ratio(*(_weighted(table, weights) for table in self))  # (R, tasks)
        return _known_mean(shares, np.ones_like(shares))

    def within(self, weights: np.ndarray) -> np.ndarray:
        """AUC among the runs of one arm on one task, averaged over those with both outcomes; as `across`."""
        shares = _ratio(*(_alike(table).T for table in self))  # (arms, tasks)
        return _known_mean(np.repeat(shares[None], len(weights), 0), weights[:, :, None])

    @property
    def arms_across(self) -> int:
        """How many arms there are evidence of: with solved runs, or with others, whichever are fewer."""
        return min(int(self.pairs.sum((0, other)).astype(bool).sum()) for other in (1, 2))

    @property
    def arms_within(self) -> int:
        """How many arms have runs of both outcomes on one task."""
        return int(_alike(self.pairs).any(0).sum())


def foretelling_table(runs: pd.DataFrame, predictors: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Judge measures, alone and together, by how they rank runs of arms, and of tasks, that they were not fitted on.

    AUC, the area under the ROC curve, is the chance that of two runs on the same task, one that solved it and one that
    did not, the first has the higher score: 1 where success is foretold, 0.5 where nothing is, less where it is
    foretold the wrong way round. Scores come from a logistic regression on ranks within each task, which make tasks
    comparable and know nothing of who solved it; for one measure that is no more than the sign of its effect. A pair is
    ranked by a fit without either of its two arms (`arms`, `within`), or without its task (`tasks`). Scores of
    different fits are never compared: leaving out a successful arm lowers all that a fit expects, which would turn
    noise into an AUC below 0.5. Intervals are those of a bootstrap over whole arms; fits are not repeated in it.

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
    cases = _Cases(runs, np.zeros((len(runs), 1)))
    nothing = cases.contest(np.full(len(cases.solved_run), 0.5))
    flat, alike, unknown = _across(nothing), _within(nothing), Interval.unknown()
    own = _across(_own_rate(cases)) if cases.tasks > 1 else unknown
    rows = ((CONSTANT, flat, flat), (OWN_RATE, unknown, own), (OTHERS_RATE, flat, flat))
    found = [(name, (arms, tasks, alike, unknown)) for name, arms, tasks in rows]
    return pd.DataFrame([_row(name, len(runs), 0, math.nan, estimates) for name, estimates in found])


def ranks_within_tasks(values: pd.Series, tasks: pd.Series) -> np.ndarray:
    """(N,) ranks among the runs of the same task, centred, as shares of their number; NaN where there is no value."""
    by_task = values.groupby(tasks.to_numpy())
    ranks, count = by_task.rank().to_numpy(float), by_task.transform("count").to_numpy(float)
    return (ranks - (count + 1) / 2) / np.maximum(count, 1)


class _Cases:
    """Runs with standardised measures, and all their pairs of the same task with different outcomes.

    Args:
        runs: see `foretelling_table`.
        x: (N, measures).
    """

    def __init__(self, runs: pd.DataFrame, x: np.ndarray) -> None:
        self.x, self.solved = x, runs["solved"].to_numpy(bool)
        (self.arm, arms), (self.task, tasks) = (pd.factorize(runs[name], sort=True) for name in ("arm", "task"))
        self.arms, self.tasks = len(arms), len(tasks)
        differs = (self.task[:, None] == self.task) & self.solved[:, None] & ~self.solved
        self.solved_run, self.other_run = np.nonzero(differs)

    def contest(self, right: np.ndarray) -> Contest:
        """Count pairs, (P,), by task and arms."""
        at = self.task[self.solved_run], self.arm[self.solved_run], self.arm[self.other_run]
        tables = np.zeros((2, self.tasks, self.arms, self.arms))
        np.add.at(tables[0], at, right)
        np.add.at(tables[1], at, 1.0)
        return Contest(*tables)

    def ranked(self, folds: Iterator[tuple[np.ndarray, np.ndarray]]) -> Contest:
        """Rank pairs by fits that have not seen them.

        Args:
            folds: which pairs (P,) to rank, and which runs (N,) to leave out for it.
        """
        right = np.full(len(self.solved_run), 0.5)
        for chosen, left_out in folds:
            if chosen.any():
                scores = self.x @ _effects(self.x[~left_out], self.solved[~left_out])
                right[chosen] = self.compared(scores)[chosen]
        return self.contest(right)

    def compared(self, scores: np.ndarray) -> np.ndarray:
        """(P,) from scores (N,): 1 where the solved run of a pair has the higher one, 0.5 where both have the same."""
        return np.heaviside(scores[self.solved_run] - scores[self.other_run], 0.5)

    def arms_out(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every two arms, and every single one, with the pairs between them."""
        first, second = np.sort([self.arm[self.solved_run], self.arm[self.other_run]], axis=0)
        for a in range(self.arms):
            for b in range(a, self.arms):
                yield (first == a) & (second == b), np.isin(self.arm, (a, b))

    def tasks_out(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Every task with its pairs."""
        for task in range(self.tasks):
            yield self.task[self.solved_run] == task, self.task == task


def _judged(runs: pd.DataFrame, name: str, columns: list[str]) -> dict[str, object]:
    """One row of the table."""
    known = runs.loc[runs[columns].notna().any(axis=1)]
    x = np.column_stack([ranks_within_tasks(known[column], known["task"]) for column in columns])
    cases = _Cases(known, np.nan_to_num(x))
    arms = tasks = within = gain = Interval.unknown()
    if cases.arms > 2:
        without_arms = cases.ranked(cases.arms_out())
        arms, within = _across(without_arms), _within(without_arms)
    if cases.tasks > 1:
        without_tasks, own = cases.ranked(cases.tasks_out()), _own_rate(cases)
        tasks, gain = _across(without_tasks), _across(without_tasks, own)
    sign = float(_effects(cases.x, cases.solved)[0]) if len(columns) == 1 else math.nan
    return _row(name, len(known), len(runs) - len(known), sign, (arms, tasks, within, gain))


def _row(name: str, count: int, missing: int, sign: float, found: Sequence[Interval]) -> dict[str, object]:
    row: dict[str, object] = {"predictor": name, "runs": count, "missing": missing, "sign": sign}
    for setting, estimate in zip(SETTINGS, found, strict=True):
        row |= {setting: estimate.value, f"{setting}_low": estimate.low, f"{setting}_high": estimate.high}
    return row


def _own_rate(cases: _Cases) -> Contest:
    """Ranked by the share of an arm's runs on other tasks that solve them."""
    solved, count = np.zeros((2, cases.tasks, cases.arms))
    np.add.at(solved, (cases.task, cases.arm), cases.solved)
    np.add.at(count, (cases.task, cases.arm), 1)
    rate = _ratio(solved.sum(0) - solved, count.sum(0) - count)
    return cases.contest(np.nan_to_num(cases.compared(rate[cases.task, cases.arm]), nan=0.5))


def _effects(x: np.ndarray, solved: np.ndarray) -> np.ndarray:
    """(measures,) weights of a logistic regression; of a single one only the sign counts, that of the covariance."""
    if solved.all() or not solved.any():
        return np.zeros(x.shape[1])
    if x.shape[1] == 1:
        return np.sign(x.T @ (solved - solved.mean()))
    from sklearn.linear_model import LogisticRegression  # takes a second to import

    return LogisticRegression().fit(x, solved).coef_[0]


def _across(contest: Contest, other: Contest | None = None) -> Interval:
    """AUC within tasks, or how much more it is than that of another score."""

    def auc(weights: np.ndarray) -> np.ndarray:
        return contest.across(weights) - (0.0 if other is None else other.across(weights))

    return _interval(auc, contest.pairs.shape[1], contest.arms_across)


def _within(contest: Contest) -> Interval:
    """AUC within arms."""
    return _interval(contest.within, contest.pairs.shape[1], contest.arms_within)


def _interval(auc: Callable[[np.ndarray], np.ndarray], arms: int, telling: int, seed: int = 0) -> Interval:
    """A statistic of arms' weights with the bounds of a bootstrap over arms, if enough of them tell anything."""
    value = float(auc(np.ones((1, arms)))[0])
    if telling < FEWEST or math.isnan(value):
        return Interval(value, math.nan, math.nan)
    weights = np.random.default_rng(seed).multinomial(arms, np.full(arms, 1 / arms), size=RESAMPLES)
    return Interval(value, *percentiles(auc(weights)))


def _alike(table: np.ndarray) -> np.ndarray:
    """(tasks, arms), what is between runs of the same arm, from (tasks, arms, arms)."""
    return np.diagonal(table, axis1=1, axis2=2)


def _weighted(table: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R, tasks) from (tasks, arms, arms): pairs of two arms count by the product of their weights."""
    alike = _alike(table)
    between = np.einsum("ra,tab,rb->rt", weights, table, weights, optimize=True)
    return between - weights**2 @ alike.T + weights @ alike.T


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """NaN where there is nothing."""
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)


def _known_mean(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) weighted mean of all that is known in (R, ...)."""
    weights = np.where(np.isnan(values), 0.0, weights)
    axes = tuple(range(1, values.ndim))
    return _ratio((np.nan_to_num(values) * weights).sum(axes), weights.sum(axes))
