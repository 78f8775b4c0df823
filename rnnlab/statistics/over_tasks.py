"""Arms over all tasks of a sweep together, on a scale that tasks share."""

import numpy as np
import pandas as pd

from rnnlab.statistics.ablation import final_runs, scored, task_of
from rnnlab.statistics.intervals import interquartile_mean, mean, stratified_bootstrap


def progress(runs: pd.DataFrame) -> pd.Series:
    """Put every run on one scale: 0 is the score of the trivial baseline, 1 the solved criterion.

    What lies outside is set to 0 or 1, so that neither an exploded score nor a task solved ten times over outweighs
    the other tasks.

    Args:
        runs: of any tasks.

    Returns:
        One value a run, NaN where it does not count, with the index of `runs`.
    """
    parts = [pd.Series(dtype=float)]
    for _, group in runs.groupby("task"):
        task = task_of(group.iloc[0])
        baseline = task.baseline.score
        parts.append(((scored(group, task) - baseline) / (task.solved_at - baseline)).clip(0, 1))
    return pd.concat(parts[1:] or parts).reindex(runs.index)


def overall_table(runs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Sum up each arm over all tasks, with stratified bootstrap intervals: runs are resampled within each task.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`, in any order.
        seed: seeds the bootstrap.

    Returns:
        Columns arm, tasks, runs (that count), solved (runs), mean, mean_low, mean_high, iqm, iqm_low, iqm_high (of
        `progress`), the best arm first. Only arms with results on every task, which alone compare.
    """
    final = final_runs(runs)
    counted = final.assign(progress=progress(final)).dropna(subset="progress")
    tasks = len(set(runs["task"]))
    rows = []
    for arm, group in counted.groupby("arm"):
        strata = [values.to_numpy(float) for _, values in group.groupby("task")["progress"]]
        if len(strata) < tasks:
            continue
        average = stratified_bootstrap(strata, mean, np.random.default_rng(seed))
        middle = stratified_bootstrap(strata, interquartile_mean, np.random.default_rng(seed))
        rows.append([arm, tasks, len(group), int(group["solved"].to_numpy(bool).sum()), *average, *middle])
    columns = ["arm", "tasks", "runs", "solved", "mean", "mean_low", "mean_high", "iqm", "iqm_low", "iqm_high"]
    return pd.DataFrame(rows, columns=columns).sort_values("mean", ascending=False, kind="stable", ignore_index=True)
