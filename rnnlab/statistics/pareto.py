"""Score against cost: the search trials that no other trial of their arm beats in both."""

from collections.abc import Iterable

import numpy as np
import pandas as pd

from rnnlab.statistics.ablation import has_result, search_trials

NUMBERS = ("objective", "score_name", "score", "cost")


def pareto_front(points: np.ndarray) -> np.ndarray:
    """Which points no other point is as good as in both numbers and better than in one; lower is better.

    Args:
        points: (n, 2).

    Returns:
        (n,) booleans; of equal points all or none.
    """
    front = np.zeros(len(points), dtype=bool)
    last = (np.inf, np.inf)
    for k in np.lexsort((points[:, 1], points[:, 0])):
        point = tuple(points[k])
        if point[1] < last[1] or point == last:
            front[k], last = True, point
    return front


def pareto_table(runs: pd.DataFrame, names: Iterable[str]) -> pd.DataFrame:
    """The Pareto front of objective and cost of every arm on every task, among the search trials that have both.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`.
        names: what was searched, in any arm.

    Returns:
        Columns task, arm, trial, one for each searched hyperparameter, objective (what tuning minimises), score_name,
        score and cost (means over the seeds of the trial); inside an arm the best objective, which is trained again,
        first.
    """
    trials = search_trials(runs)
    known = trials.loc[has_result(trials)].dropna(subset=["objective", "cost"])
    rows = [
        group.loc[pareto_front(group[["objective", "cost"]].to_numpy(float))].sort_values(["objective", "trial"])
        for _, group in known.groupby(["task", "arm"])
    ]
    table = pd.concat(rows or [known])
    points = {name: table[f"param.{name}"] for name in names}
    return table[["task", "arm", "trial"]].assign(**points, **{name: table[name] for name in NUMBERS})
