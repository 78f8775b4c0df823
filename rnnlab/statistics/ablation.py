"""From runs to the ablation table: one row per task and arm, with its uncertainty."""

import math
import re
from collections import Counter

import numpy as np
import pandas as pd

from rnnlab.statistics.comparisons import comparisons
from rnnlab.statistics.intervals import bootstrap_mean, interquartile_mean, stratified_bootstrap, wilson
from rnnlab.statistics.time_to_solve import SolveCurve, median_steps, solve_curve
from rnnlab.tasks import TASKS, Task

WORST_FIRST = ("failed", "running", "pruned", "diverged", "finished", "solved")


def task_of(run: pd.Series) -> Task:
    """Rebuild the task of a run from its logged parameters.

    Args:
        run: a row of `rnnlab.tracking.reader.load_sweep`.
    """
    prefix = "param.task."
    logged = {str(name): value for name, value in run.items() if str(name).startswith(prefix)}
    fields = {name.removeprefix(prefix): value for name, value in logged.items() if not pd.isna(value)}
    return TASKS.find(fields["kind"]).parse(fields, f"run {run['run_id']}")


def scored(runs: pd.DataFrame, task: Task) -> pd.Series:
    """Give each run the score it counts with.

    A run that diverged without a finite score, or failed, counts with the worst score of all the others, or with that
    of the trivial baseline where that is worse, so that an arm gains nothing by either. One that was pruned or still
    runs has none (NaN).

    Args:
        runs: runs of one task, those of all its arms.
        task: that task.

    Returns:
        One score a run, with the index of `runs`.
    """
    score = runs.loc[:, "score"].astype(float)
    score = score.where(np.isfinite(score) & has_result(runs))
    worst = (min if task.higher_is_better else max)([task.baseline.score, *score.dropna()])
    return score.mask(score.isna() & ((runs["outcome"] == "diverged") | has_failed(runs)), worst)


def goodness(runs: pd.DataFrame, task: Task) -> pd.Series:
    """The score each run counts with, turned so that higher is better."""
    return scored(runs, task) * (1 if task.higher_is_better else -1)


def final_runs(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on fresh seeds, which alone make results, in an order of their own."""
    return runs.loc[runs["phase"] == "final"].sort_values(["task", "arm", "seed", "run_id"])


def search_trials(runs: pd.DataFrame) -> pd.DataFrame:
    """Sum up each search trial over the seeds it was trained on.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`.

    Returns:
        One row a search trial: that of its first seed, with score, objective and cost averaged over its seeds, whether
        any of them diverged, and the outcome that says most against the trial: failed where any run of it failed,
        then running, pruned, diverged, finished, solved.
    """
    keys = ["task", "arm", "trial"]
    search = runs.loc[runs["phase"] == "search"].sort_values([*keys, "seed"])
    search = search.assign(outcome=search["outcome"].mask(has_failed(search), "failed"))
    groups = search.groupby(keys)
    summary = groups[["score", "objective", "cost"]].mean()
    summary["diverged"] = groups["diverged"].any()
    summary["outcome"] = groups["outcome"].agg(lambda outcomes: min(outcomes, key=WORST_FIRST.index))
    first = search.drop_duplicates(keys).drop(columns=summary.columns)
    return first.merge(summary.reset_index(), on=keys)[list(runs.columns)]


def has_result(runs: pd.DataFrame) -> pd.Series:
    """Tell which runs came to their end, be it a bad one."""
    return runs.loc[:, "outcome"].isin(["solved", "finished", "diverged"])


def results(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on fresh seeds that came to their end."""
    return runs.loc[(runs["phase"] == "final") & has_result(runs)]


def has_failed(runs: pd.DataFrame) -> pd.Series:
    """Tell which runs ended by an error, or without a score that anything explains."""
    lost = runs.loc[:, "outcome"].isin(["solved", "finished"]) & ~np.isfinite(runs.loc[:, "score"].astype(float))
    return lost | (runs["outcome"] == "failed")


def ablation_table(runs: pd.DataFrame, seed: int = 0) -> pd.DataFrame:
    """Sum up a sweep: one row per (task, arm), scored on the fresh seeds of the final phase alone.

    The best trial of the search is never the result: it was chosen for its luck too.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`, in any order.
        seed: seeds the bootstrap; every row draws the same resamples, so no row depends on another.

    Returns:
        Columns task, arm, learning_rate, score_name, score, low, high (mean over seeds and its 95% interval),
        iqm, iqm_low, iqm_high (interquartile mean), seeds (runs that count), solved (how many),
        solved_fraction, solved_low, solved_high (Wilson), steps_to_solve, steps_low, steps_high (Kaplan-Meier
        median; NaN where it was not reached), updates (a run's budget), decay_rate and decay_rate_init (means,
        decades a step of lag, at the last and the first recorded training step), decay_r2 and decay_bent (mean,
        and share of runs, at the last), diverged (how many), diverged_fraction, diverged_low, diverged_high
        (Wilson), failed, unfinished (runs), seconds (mean a run), search_done, search_failed, search_diverged
        (trials), baseline and solved_at (scores), command. Tasks in natural order; within a task the best arm
        first, arms without a score last.
    """
    groups = {str(label): group for label, group in runs.groupby("task")}
    return pd.concat([_rows(groups[label], seed) for label in sorted(groups, key=natural)], ignore_index=True)


def comparison_table(runs: pd.DataFrame, reference: str | None) -> pd.DataFrame:
    """Compare every two arms on every task, on the fresh seeds alone.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`, in any order.
        reference: the arm that others are to improve on; None if there is none.

    Returns:
        The rows of `rnnlab.statistics.comparisons.comparisons`, tasks in natural order.
    """
    groups = {str(label): final_runs(group) for label, group in runs.groupby("task")}
    tables = []
    for label in sorted(groups, key=natural):
        task = task_of(runs.loc[runs["task"] == label].iloc[0])
        tables.append(comparisons(groups[label], goodness(groups[label], task), reference))
    return pd.concat(tables, ignore_index=True)


def solve_table(runs: pd.DataFrame) -> pd.DataFrame:
    """Follow the share of solved runs over training, on the fresh seeds alone.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`, in any order.

    Returns:
        Columns task, arm, step (updates), solved (share from this step on), low, high (95% bounds): the Kaplan-Meier
        estimate of every arm.
    """
    final = final_runs(runs)
    counted = final.loc[has_result(final) | has_failed(final)]
    curves = [
        pd.DataFrame({"task": task, "arm": arm, "step": curve.steps, "solved": curve.solved}).assign(
            low=curve.low, high=curve.high
        )
        for (task, arm), group in counted.groupby(["task", "arm"])
        for curve in [arm_solve_curve(group)]
    ]
    columns = ["task", "arm", "step", "solved", "low", "high"]
    return pd.concat([pd.DataFrame(columns=columns), *curves]) if not curves else pd.concat(curves, ignore_index=True)


def arm_solve_curve(final: pd.DataFrame) -> SolveCurve:
    """How the share of solved runs grows over training, in one arm on one task.

    A run that diverged or failed is censored at the end of its budget and not where it broke off: it would not have
    solved the task later, and to take it out early would let an arm gain by breaking.

    Args:
        final: those final runs that count.
    """
    return solve_curve(final["steps_to_solve"].to_numpy(float), final["param.training.steps"].to_numpy(float))


def _rows(runs: pd.DataFrame, seed: int) -> pd.DataFrame:
    """The rows of one task, best first."""
    task = task_of(runs.iloc[0])
    scores = scored(final_runs(runs), task)
    table = pd.DataFrame([_row(str(arm), group, scores, task, seed) for arm, group in runs.groupby("arm")])
    return table.sort_values("score", ascending=not task.higher_is_better, kind="stable", na_position="last")


def _row(arm: str, runs: pd.DataFrame, scores: pd.Series, task: Task, seed: int) -> dict[str, object]:
    """Sum up one arm on one task, from the scores that the final runs of all arms count with."""
    final = final_runs(runs)
    scores = scores.loc[final.index]
    counted = final.loc[scores.notna()]
    ended, searched = Counter(final["outcome"]), Counter(search_trials(runs)["outcome"])
    return {
        "task": task.label,
        "arm": arm,
        "learning_rate": float(final["param.optimizer.lr"].iloc[0]) if len(final) else math.nan,
        "score_name": task.score_name,
        **_estimates(counted, scores.dropna().to_numpy(), seed),
        "decay_rate": counted["decay_rate"].astype(float).mean(),
        "decay_rate_init": counted["decay_rate_init"].astype(float).mean(),
        "decay_r2": counted["decay_r2"].astype(float).mean(),
        "decay_bent": counted["decay_bent"].astype(float).mean(),
        "failed": int(has_failed(final).sum()),
        "unfinished": ended["running"],
        "seconds": counted["seconds"].astype(float).mean(),
        "search_done": searched.total() - searched["running"] - searched["failed"],
        "search_failed": searched["failed"],
        "search_diverged": searched["diverged"],
        "baseline": task.baseline.score,
        "solved_at": task.solved_at,
        "command": final["command"].iloc[0] if len(final) else "",
    }


def _estimates(counted: pd.DataFrame, scores: np.ndarray, seed: int) -> dict[str, float]:
    """Everything that has an interval, from the final runs that count and their scores."""
    score = bootstrap_mean(scores, np.random.default_rng(seed))
    middle = stratified_bootstrap([scores], interquartile_mean, np.random.default_rng(seed))
    n, solved = len(counted), int(counted["solved"].to_numpy(bool).sum())
    diverged = Counter(counted["outcome"])["diverged"]
    median = median_steps(arm_solve_curve(counted))
    estimates = {
        **dict(zip(("score", "low", "high"), score, strict=True)),
        **dict(zip(("iqm", "iqm_low", "iqm_high"), middle, strict=True)),
        **{"seeds": n, "solved": solved},
        **dict(zip(("solved_fraction", "solved_low", "solved_high"), wilson(solved, n), strict=True)),
        **dict(zip(("steps_to_solve", "steps_low", "steps_high"), median, strict=True)),
        "updates": counted["param.training.steps"].astype(float).mean(),
        "diverged": diverged,
        **dict(zip(("diverged_fraction", "diverged_low", "diverged_high"), wilson(diverged, n), strict=True)),
    }
    return estimates


def natural(label: str) -> list[tuple[int, str]]:
    """Sort key that puts adding-30 before adding-100."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", label)]
