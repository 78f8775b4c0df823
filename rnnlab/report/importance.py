"""Which searched hyperparameter decides the score of an arm (functional analysis of variance)."""

import math
from typing import Any, NamedTuple

import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from rnnlab.sweep.plan.space import Dimension, Space

TRIALS_PER_DIMENSION = 10
"""Fewer search trials than this for each searched hyperparameter, and the forest mostly fits their noise."""
TREES = 64
PREDICTABLE = 0.25
"""R² on trials left out from which on importance is told: pure noise reaches it in about 1 arm of 100. Without this
bar the analysis would share out the noise, most of it to whichever hyperparameter takes the most values."""


class Importance(NamedTuple):
    """What the searched hyperparameters say about the score of an arm.

    Attributes:
        predicted: R² of the forest on trials left out of its trees; at or below 0 it knows nothing.
        shares: share of variance each hyperparameter explains by itself, by name; empty below `PREDICTABLE`.
    """

    predicted: float
    shares: dict[str, float]


def importance(search: pd.DataFrame, scores: pd.Series, space: Space, seed: int = 0) -> Importance | None:
    """Estimate how much of what sets an arm's search trials apart each searched hyperparameter explains by itself.

    A random forest predicts the rank of a trial's score, which a few exploded scores cannot stretch, and the variance
    of its prediction over the search range is shared out. What is missing to 1 is joint effects.

    Args:
        search: search trials of one arm on one task.
        scores: what each counts with, NaN where it does not; the index of `search`.
        space: the searched hyperparameters.
        seed: seeds the forest.

    Returns:
        The estimate; None where fewer than two hyperparameters are searched, too few trials have a score, or all
        scores are equal.

    Reference: Hutter, Hoos and Leyton-Brown 2014, "An Efficient Approach for Assessing Hyperparameter Importance".
    """
    counted = search.loc[scores.notna()].sort_values(["trial", "run_id"])
    ranks = scores.loc[counted.index].rank()
    if why_unknown(space, len(counted)) or ranks.nunique() < 2:
        return None
    from optuna.importance import FanovaImportanceEvaluator  # late: forests take a second to import
    from sklearn.ensemble import RandomForestRegressor

    points = [
        {name: _coordinate(dimension, row[f"param.{name}"]) for name, dimension in space.items()}
        for row in counted.to_dict("records")
    ]
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=seed)
    predicted = float(forest.fit(pd.DataFrame(points), ranks).oob_score_)
    if predicted < PREDICTABLE:
        return Importance(predicted, {})
    distributions = {name: _distribution(dimension) for name, dimension in space.items()}
    trials = [
        optuna.trial.create_trial(params=point, distributions=distributions, value=float(rank))
        for point, rank in zip(points, ranks, strict=True)
    ]
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # or it announces every study
    study = optuna.create_study(storage=optuna.storages.InMemoryStorage(), study_name="importance")
    study.add_trials(trials)
    shares = FanovaImportanceEvaluator(n_trees=TREES, seed=seed).evaluate(study)
    return Importance(predicted, {name: float(shares[name]) for name in space})


def why_unknown(space: Space, trials: int) -> str:
    """Say why importance cannot be estimated from so many trials; empty where nothing stands against it."""
    if len(space) < 2:
        return f"only {next(iter(space))} is searched"
    needed = TRIALS_PER_DIMENSION * len(space)
    if trials < needed:
        return f"{len(space)} searched hyperparameters need {needed} trials an arm and task, and there are {trials}"
    return ""


def _distribution(dimension: Dimension) -> BaseDistribution:
    """The range that variance is averaged over; a logarithmic one by its logarithm, which the evaluator ignores."""
    if dimension.choices is not None:
        return CategoricalDistribution(list(range(len(dimension.choices))))
    low, high = dimension.extremes()
    return FloatDistribution(_coordinate(dimension, low), _coordinate(dimension, high))


def _coordinate(dimension: Dimension, value: Any) -> float | int:
    """Where a value lies in its distribution; of choices, which one it is."""
    if dimension.choices is None:
        return math.log(value) if dimension.log else float(value)
    matches = [choice == value or (choice is None and pd.isna(value)) for choice in dimension.choices]
    return matches.index(True)
