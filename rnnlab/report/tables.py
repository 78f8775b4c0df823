"""The tables of a report as text, header first: for Markdown and LaTeX alike."""

import math
from numbers import Real

import pandas as pd

from rnnlab.common.text import chance, duration, interval, median, number, whole
from rnnlab.report.importance import PREDICTABLE
from rnnlab.statistics.spending import PHASES
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.factors import factors, searched
from rnnlab.tasks import Task

Cells = list[list[str]]


def ablation_cells(
    rows: pd.DataFrame, runs: pd.DataFrame, contests: pd.DataFrame, task: Task, definition: SweepDefinition
) -> Cells:
    """The results of one task, an arm a row; an arm that solved the task on every seed is bold.

    Args:
        rows: rows of the task from `rnnlab.report.analysis.Analysis.ablation`.
        runs: runs of the task.
        contests: pairs of the task with the reference arm, from `comparison_table`; none if there is no such arm.
        task: that task.
        definition: what was planned.
    """
    tuned = runs.query("phase == 'final'").drop_duplicates("arm").set_index("arm")

    def tuned_value(name: str, arm: str) -> str:
        return setting(tuned[f"param.{name}"].get(arm, math.nan)) if name in definition.space(arm) else "–"

    against = {row["arm"]: row for row in contests.to_dict("records")}
    beats = [f"Beats {contests['other'].iloc[0]} [95%]", "Better by [95%]", "p (Holm)"] if len(contests) else []
    names = searched(definition)
    header = ["Arm", "Width", "Parameters", *(f"Tuned {name}" for name in names)]
    header += [f"{task.score_name} [95%]", "Middle half [95%]", *beats, "Solved [95%]", "Steps to solve [95%]"]
    header += ["Diverged [95%]", "Failed", "Decay at start", "Decay at end"]
    cells = [header]
    for row in rows.to_dict("records"):
        arm = row["arm"]
        rivalry = ["–"] * len(beats)
        if contest := against.get(arm):
            gain = interval(contest["difference"], contest["difference_low"], contest["difference_high"])
            won = share(contest["probability"], contest["low"], contest["high"])
            rivalry = [won, gain, chance(contest["p_reference"])]
        cells.append(
            [
                f"**{arm}**" if 0 < row["seeds"] == row["solved"] else arm,
                str(row["width"]),
                f"{row['parameters']:,}",
                *(tuned_value(name, arm) for name in names),
                interval(row["score"], row["low"], row["high"]),
                interval(row["iqm"], row["iqm_low"], row["iqm_high"]),
                *rivalry,
                fraction(row["solved"], row["seeds"], row["solved_low"], row["solved_high"]),
                median(row["steps_to_solve"], row["steps_low"], row["steps_high"], row["updates"]),
                fraction(row["diverged"], row["seeds"], row["diverged_low"], row["diverged_high"]),
                str(row["failed"]),
                number(row["decay_rate_init"]),
                number(row["decay_rate"]),
            ]
        )
    return cells


def reach_cells(reach: pd.DataFrame) -> Cells:
    """How far each arm gets on each kind of task."""
    kinds = [name for name in reach.columns if name not in ("arm", "solved", "runs")]
    cells = [["Arm", *(kind.replace("_", " ") for kind in kinds), "Solved"]]
    for row in reach.to_dict("records"):
        lengths = [row[kind] for kind in kinds]  # NaN where the arm has not been run
        shown = ["" if math.isnan(length) else f"{length:.0f}" if length else "–" for length in lengths]
        cells.append([row["arm"], *shown, f"{row['solved']} of {row['runs']}"])
    return cells


def overall_cells(overall: pd.DataFrame) -> Cells:
    """Every arm over all tasks."""
    cells = [["Arm", "Mean progress [95%]", "Middle half [95%]", "Solved"]]
    for row in overall.to_dict("records"):
        estimates = (share(*(row[f"{name}{end}"] for end in ("", "_low", "_high"))) for name in ("mean", "iqm"))
        cells.append([row["arm"], *estimates, f"{row['solved']} of {row['runs']}"])
    return cells


def importance_cells(table: pd.DataFrame) -> Cells:
    """Importance of the searched hyperparameters on one task; empty where it is unknown for every arm."""
    known = table.dropna(subset="predicted")
    if known.empty:
        return []
    names = [name for name in table.columns if name not in ("task", "arm", "predicted")]
    cells = [["Arm", f"Predictable (R², bar {PREDICTABLE:g})", *names]]
    return cells + [
        [row["arm"], number(row["predicted"], 2), *(number(row[name], 2) for name in names)]
        for row in known.to_dict("records")
    ]


def pareto_cells(pareto: pd.DataFrame, definition: SweepDefinition) -> Cells:
    """Score against cost on one task; the point of each arm that was trained again is bold."""
    if pareto.empty:
        return []
    names = searched(definition)
    cells = [["Arm", *names, "Objective", str(pareto["score_name"].iloc[0]), "Cost"]]
    retrained = ~pareto.duplicated("arm")
    for row, again in zip(pareto.to_dict("records"), retrained, strict=True):
        point = [setting(row[name]) if name in definition.space(row["arm"]) else "–" for name in names]
        numbers = [number(row[name]) for name in ("objective", "score", "cost")]
        cells.append([f"**{row['arm']}**" if again else str(row["arm"]), *point, *numbers])
    return cells


def spending_cells(budget: pd.DataFrame) -> Cells:
    """What each arm has spent, over all tasks."""
    cells = [["Arm", *(f"{phase.capitalize()} {what}" for phase in PHASES for what in ("runs", "updates", "time"))]]
    totals = budget.drop(columns="task").pivot_table(index="arm", aggfunc="sum", sort=False)
    for arm, row in totals.to_dict("index").items():
        spent = []
        for phase in PHASES:
            apart = row[f"{phase}_unmetered"]
            spent += [
                f"{row[f'{phase}_runs']}" + (f" ({apart} without record)" if apart else ""),
                f"{row[f'{phase}_updates']:,.0f}",
                duration(row[f"{phase}_seconds"]),
            ]
        cells.append([str(arm), *spent])
    return cells


def factor_cells(definition: SweepDefinition) -> Cells:
    """Every factor of the sweep with its role."""
    return [["Factor", "Values"], *([f"{role}: {name}", values] for role, name, values in factors(definition))]


def setting(value: object) -> str:
    """A tuned value as a reader wants it; the exact one is in the command."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    return number(float(value)) if value % 1 else whole(float(value))


def fraction(successes: int, n: int, low: float, high: float) -> str:
    return f"{successes} of {n} [{number(low, 2)}, {number(high, 2)}]"


def share(value: float, low: float, high: float) -> str:
    """A probability or share, which two decimals tell well enough."""
    bounds = "" if math.isnan(low) else f" [{low:.2f}, {high:.2f}]"
    return "–" if math.isnan(value) else f"{value:.2f}{bounds}"
