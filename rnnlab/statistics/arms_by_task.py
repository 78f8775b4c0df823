"""Every arm on every task at once: one number each, from the fresh seeds alone."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from rnnlab.statistics.ablation import arm_solve_curve, final_runs, has_failed, has_result, natural
from rnnlab.statistics.intervals import bootstrap_mean, wilson
from rnnlab.statistics.over_tasks import progress
from rnnlab.statistics.time_to_solve import median_steps

Values = tuple[float, float, float]
HALF = 0.5
"""Share of the fresh seeds that must solve a task for its arm to count as reaching it."""


def _solved(runs: pd.DataFrame) -> Values:
    return wilson(int(runs["solved"].to_numpy(bool).sum()), len(runs))


def _steps(runs: pd.DataFrame) -> Values:
    return median_steps(arm_solve_curve(runs))


def _progress(runs: pd.DataFrame) -> Values:
    return bootstrap_mean(runs["progress"].dropna().to_numpy(float), np.random.default_rng(0))


def _mean(column: str) -> Callable[[pd.DataFrame], Values]:
    def mean(runs: pd.DataFrame) -> Values:
        measured = runs[column].dropna().to_numpy(float)
        return float(measured.mean()) if len(measured) else math.nan, math.nan, math.nan

    return mean


QUANTITIES: dict[str, Callable[[pd.DataFrame], Values]] = {
    "solved": _solved,
    "progress": _progress,
    "steps_to_solve": _steps,
    "decay_rate_init": _mean("decay_rate_init"),
    "decay_rate": _mean("decay_rate"),
}
"""What can be asked for: share of runs that solve the task (Wilson), mean progress from the trivial baseline to the
criterion (bootstrap), updates by which half of the runs have solved it (Kaplan-Meier), mean decay rates at the first
and the last recorded training step."""


def arms_by_task(runs: pd.DataFrame, quantity: str = "solved") -> pd.DataFrame:
    """Work out one quantity for every arm on every task.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`, in any order.
        quantity: one of `QUANTITIES`.

    Returns:
        Columns task, kind, length, arm, value, low, high (95% bounds, NaN where there are none), runs; one that failed
        counts as not solved. Tasks by kind and length.
    """
    final = final_runs(runs)
    counted = final.loc[has_result(final) | has_failed(final)]
    if quantity == "progress":
        counted = counted.assign(progress=progress(final))
    groups = sorted(counted.groupby(["task", "arm"]), key=lambda item: (natural(item[0][0]), item[0][1]))
    rows = [
        [task, group["param.task.kind"].iloc[0], group["length"].iloc[0], arm, *QUANTITIES[quantity](group), len(group)]
        for (task, arm), group in groups
    ]
    return pd.DataFrame(rows, columns=["task", "kind", "length", "arm", "value", "low", "high", "runs"])


def reach_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Find the greatest distance that each arm bridges on each kind of task.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`, in any order.

    Returns:
        One row an arm, the one that has solved most first: arm, solved and runs (over all tasks), and by kind of task
        the greatest length that at least half of the fresh seeds solved, as they did every shorter one; 0 if none.
    """
    return reach_by_kind(arms_by_task(runs, "solved"))


def reach_by_kind(table: pd.DataFrame) -> pd.DataFrame:
    """The same from the rows of `arms_by_task` for the quantity "solved"."""
    rows = []
    for arm, of_arm in table.groupby("arm"):
        shares, counts = of_arm["value"].to_numpy(float), of_arm["runs"].to_numpy(int)
        reach = {str(kind): _reach(group.sort_values("length")) for kind, group in of_arm.groupby("kind")}
        solved = round(float(shares @ counts))
        rows.append({"arm": arm, "solved": solved, "runs": int(counts.sum()), **reach})
    columns = ["arm", "solved", "runs", *dict.fromkeys(table["kind"])]
    return pd.DataFrame(rows, columns=columns).sort_values("solved", ascending=False, kind="stable", ignore_index=True)


def _reach(lengths: pd.DataFrame) -> int:
    """Of the shares at rising lengths, the last length before the first that is not reached."""
    reached = 0
    for length, share in zip(lengths["length"], lengths["value"], strict=True):
        if share < HALF:
            break
        reached = int(length)
    return reached
