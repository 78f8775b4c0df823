"""Everything that is worked out from the runs of a sweep, once, for report, tables and figures alike."""

import math
from dataclasses import dataclass

import pandas as pd

from rnnlab.report.across import overall_table
from rnnlab.report.budget import budget_table
from rnnlab.report.front import front_table
from rnnlab.report.health import early_decay, health_table
from rnnlab.report.importance import importance
from rnnlab.report.statistics import (
    ablation_table,
    comparison_table,
    goodness,
    search_trials,
    solve_table,
    task_of,
)
from rnnlab.sweep.definition import SweepDefinition
from rnnlab.sweep.factors import plain_arm
from rnnlab.sweep.samplers import objectives
from rnnlab.sweep.space import Space


@dataclass(frozen=True)
class Analysis:
    """The tables behind a report.

    Attributes:
        runs: one row a run, with the column decay_rate_early.
        reference: the arm that others are to improve on, if there is one.
        ablation: one row a task and arm, from `ablation_table`.
        overall: one row an arm, from `overall_table`; empty for a single task.
        comparisons: one row a task and pair of arms, from `comparison_table`.
        solving: the share of solved runs over training, from `solve_table`.
        health: one row a task and measure, from `health_table`.
        importance: one row a task and arm: predicted (R²), and for each searched hyperparameter the share of variance
            it explains by itself, NaN where that is unknown.
        budget: one row a task and arm, from `budget_table`.
        front: one row a search trial on the Pareto front of its arm; empty where cost was no objective.
    """

    runs: pd.DataFrame
    reference: str | None
    ablation: pd.DataFrame
    overall: pd.DataFrame
    comparisons: pd.DataFrame
    solving: pd.DataFrame
    health: pd.DataFrame
    importance: pd.DataFrame
    budget: pd.DataFrame
    front: pd.DataFrame


def analyse(runs: pd.DataFrame, definition: SweepDefinition, uri: str) -> Analysis:
    """Work out every table of a sweep.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`.
        definition: what was planned.
        uri: MLflow tracking URI, where the curves of the runs are read from.
    """
    runs = runs.assign(decay_rate_early=early_decay(runs, uri))
    ablation = ablation_table(runs)
    reference = plain_arm(definition)
    order = dict.fromkeys(ablation["task"])
    overall, front = overall_table(runs), front_table(runs, definition.search)
    return Analysis(
        runs=runs,
        reference=reference,
        ablation=ablation,
        overall=overall if len(order) > 1 else overall.iloc[:0],
        comparisons=comparison_table(runs, reference),
        solving=solve_table(runs),
        health=pd.concat([_health(runs.loc[runs["task"] == label]) for label in order], ignore_index=True),
        importance=_importance(runs, ablation, definition.search),
        budget=ablation[["task", "arm"]].merge(budget_table(runs), on=["task", "arm"], how="left"),
        front=front if objectives(definition.sampler) > 1 else front.iloc[:0],
    )


def _health(runs: pd.DataFrame) -> pd.DataFrame:
    """Gradient decay against score on one task, by the first seed alone of each search trial: a trial is one choice."""
    searched = runs["phase"] == "search"
    runs = runs.loc[~searched | (runs["seed"] == runs.loc[searched, "seed"].min())]
    task = task_of(runs.iloc[0])
    table = health_table(runs, goodness(runs, task))
    table.insert(0, "task", task.label)
    return table


def _importance(runs: pd.DataFrame, ablation: pd.DataFrame, space: Space) -> pd.DataFrame:
    """Importance of the searched hyperparameters, arm by arm, in the order of the ablation table."""
    search = search_trials(runs)
    rows = []
    for label, arm in zip(ablation["task"], ablation["arm"], strict=True):
        trials = search.loc[(search["task"] == label) & (search["arm"] == arm)]
        found = importance(trials, goodness(trials, task_of(trials.iloc[0])), space) if len(trials) else None
        shares = found.shares if found else {}
        rows.append([label, arm, found.predicted if found else math.nan, *(shares.get(x, math.nan) for x in space)])
    return pd.DataFrame(rows, columns=["task", "arm", "predicted", *space])
