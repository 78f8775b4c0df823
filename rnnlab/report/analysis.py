"""Everything that is worked out from the runs of a sweep, once, for report, tables and figures alike."""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rnnlab.config.config import Config
from rnnlab.report.importance import importance
from rnnlab.statistics.ablation import (
    ablation_table,
    comparison_table,
    goodness,
    search_trials,
    solve_table,
    task_of,
)
from rnnlab.statistics.gradient_health import health_table
from rnnlab.statistics.over_tasks import overall_table
from rnnlab.statistics.pareto import pareto_table
from rnnlab.statistics.spending import spending_table
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.factors import plain_arm, searched
from rnnlab.sweep.plan.samplers import objectives
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.tracking.reader import early_decay
from rnnlab.training.models import count_parameters


@dataclass(frozen=True)
class Analysis:
    """The tables behind a report.

    Attributes:
        runs: one row a run, with the column decay_rate_early.
        reference: the arm that others are to improve on, if there is one.
        ablation: one row a task and arm, from `ablation_table`, with the columns width (hidden size) and parameters
            (how many are trained) of its tuned network.
        overall: one row an arm, from `overall_table`; empty for a single task.
        comparisons: one row a task and pair of arms, from `comparison_table`.
        solving: the share of solved runs over training, from `solve_table`.
        health: one row a task and measure, from `health_table`.
        importance: one row a task and arm: predicted (R²), and for each searched hyperparameter the share of variance
            it explains by itself, NaN where that is unknown or the arm does not search it.
        spending: one row a task and arm, from `spending_table`.
        pareto: one row a search trial on the Pareto front of its arm; empty where cost was no objective.
    """

    runs: pd.DataFrame
    reference: str | None
    ablation: pd.DataFrame
    overall: pd.DataFrame
    comparisons: pd.DataFrame
    solving: pd.DataFrame
    health: pd.DataFrame
    importance: pd.DataFrame
    spending: pd.DataFrame
    pareto: pd.DataFrame


def analyse(runs: pd.DataFrame, definition: SweepDefinition, uri: str) -> Analysis:
    """Work out every table of a sweep, its tasks in the order of the definition.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`.
        definition: what was planned.
        uri: MLflow tracking URI, where the curves of the runs are read from.
    """
    runs = runs.assign(decay_rate_early=early_decay(runs, uri))
    labels = set(runs["task"])
    order = [label for label in dict.fromkeys(plan.task for plan in definition.studies) if label in labels]

    def arranged(table: pd.DataFrame) -> pd.DataFrame:
        return table.sort_values("task", key=lambda tasks: tasks.map(order.index), kind="stable", ignore_index=True)

    ablation = arranged(ablation_table(runs))
    reference = plain_arm(definition)
    overall, pareto = overall_table(runs), pareto_table(runs, searched(definition))
    return Analysis(
        runs=runs,
        reference=reference,
        ablation=pd.concat([ablation, _sizes(runs, ablation, definition)], axis=1),
        overall=overall if len(order) > 1 else overall.iloc[:0],
        comparisons=arranged(comparison_table(runs, reference)),
        solving=arranged(solve_table(runs)),
        health=pd.concat([_health(runs.loc[runs["task"] == label]) for label in order], ignore_index=True),
        importance=_importance(runs, ablation, definition),
        spending=ablation[["task", "arm"]].merge(spending_table(runs), on=["task", "arm"], how="left"),
        pareto=pareto if objectives(definition.sampler) > 1 else pareto.iloc[:0],
    )


def _health(runs: pd.DataFrame) -> pd.DataFrame:
    """Gradient decay against score on one task, by the first seed alone of each search trial: a trial is one choice."""
    searched = runs["phase"] == "search"
    runs = runs.loc[~searched | (runs["seed"] == runs.loc[searched, "seed"].min())]
    task = task_of(runs.iloc[0])
    table = health_table(runs, goodness(runs, task))
    table.insert(0, "task", task.label)
    return table


def _importance(runs: pd.DataFrame, ablation: pd.DataFrame, definition: SweepDefinition) -> pd.DataFrame:
    """Importance of the searched hyperparameters, arm by arm, in the order of the ablation table."""
    search, names = search_trials(runs), searched(definition)
    rows = []
    for label, arm in zip(ablation["task"], ablation["arm"], strict=True):
        trials = search.loc[(search["task"] == label) & (search["arm"] == arm)]
        space = definition.space(arm)
        found = importance(trials, goodness(trials, task_of(trials.iloc[0])), space) if len(trials) else None
        shares = found.shares if found else {}
        rows.append([label, arm, found.predicted if found else math.nan, *(shares.get(x, math.nan) for x in names)])
    return pd.DataFrame(rows, columns=["task", "arm", "predicted", *names])


def _sizes(runs: pd.DataFrame, ablation: pd.DataFrame, definition: SweepDefinition) -> pd.DataFrame:
    """Hidden size and number of parameters of the tuned network of each row of the ablation table."""
    plans = {plan.name: plan for plan in definition.studies}
    sizes = []
    for label, arm in zip(ablation["task"], ablation["arm"], strict=True):
        of_arm = runs.loc[(runs["task"] == label) & (runs["arm"] == arm)]
        final, *_ = of_arm.sort_values("phase").to_dict("records")  # before search, where there is one
        config = _trained(plans[f"{label}/{arm}"], final)
        sizes.append((config.cell.hidden_size, count_parameters(config)))
    return pd.DataFrame(sizes, columns=["width", "parameters"], index=ablation.index)


def _trained(plan: StudyPlan, run: dict[Any, Any]) -> Config:
    """The configuration of a run, from the values that the search gave it."""
    point = {name: run[f"param.{name}"] for name in plan.space}
    # A choice of none has become NaN in a column of numbers.
    return plan.config({name: None if value != value else value for name, value in point.items()}, run["seed"])
