"""Time to solve: how many updates it takes, when some runs never solve the task within their budget."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from rnnlab.statistics.intervals import Interval, wilson

ROUNDING = 1e-9
"""A product of fractions that is one half may come out as slightly less."""


class SolveCurve(NamedTuple):
    """Share of runs that have solved the task, as a staircase over training.

    Attributes:
        steps: (n,) updates at which the share changes, with 0 in front; it holds until the next.
        solved: (n,) share of the runs.
        low: (n,) lower 95% bound.
        high: (n,) upper 95% bound.
    """

    steps: np.ndarray
    solved: np.ndarray
    low: np.ndarray
    high: np.ndarray


def solve_curve(steps_to_solve: Sequence[float] | np.ndarray, budget: Sequence[float] | np.ndarray) -> SolveCurve:
    """Estimate the share of runs that have solved the task by each training step (Kaplan-Meier).

    A run that has not solved it is censored at the end of its budget: it counts as unsolved until then, and says
    nothing of what more training would have brought. The bounds, at each step by itself, are Wilson's for the number
    of uncensored runs that would be as informative; without early censoring that is the number of runs.

    Args:
        steps_to_solve: updates after which each run first reached the criterion; NaN where it never did.
        budget: updates after which each of the others was censored.

    Returns:
        The curve, which starts with no run solved at step 0.

    Reference: Kaplan and Meier 1958, "Nonparametric Estimation from Incomplete Observations"; Rothman 1978,
        "Estimation of Confidence Limits for the Cumulative Probability of Survival in Life Table Analysis".
    """
    steps, limit = np.asarray(steps_to_solve, dtype=float), np.asarray(budget, dtype=float)
    end = np.where(np.isnan(steps), limit, steps)
    unsolved, variance, informative = 1.0, 0.0, float(len(end))  # variance: Greenwood's sum, of log unsolved
    rows = [(0.0, *wilson(0, informative))]
    for step in np.unique(steps[~np.isnan(steps)]):
        at_risk, solving = int((end >= step).sum()), int((steps == step).sum())
        unsolved *= 1 - solving / at_risk
        if unsolved > 0:  # otherwise there is no variance left to learn from
            variance += solving / (at_risk * (at_risk - solving))
            informative = (1 - unsolved) / (unsolved * variance)
        rows.append((float(step), *wilson((1 - unsolved) * informative, informative)))
    return SolveCurve(*np.array(rows).T)


def median_steps(curve: SolveCurve) -> Interval:
    """The training step by which half of the runs have solved the task.

    Args:
        curve: from `solve_curve`.

    Returns:
        Median and bounds, in updates: where the curve and its own bounds cross one half. NaN where one never does.

    Reference: Brookmeyer and Crowley 1982, "A Confidence Interval for the Median Survival Time".
    """
    return Interval(*(_first(curve.steps, share >= 0.5 - ROUNDING) for share in (curve.solved, curve.high, curve.low)))


def _first(steps: np.ndarray, reached: np.ndarray) -> float:
    return float(steps[reached.argmax()]) if reached.any() else float("nan")
