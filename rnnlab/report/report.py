"""The report of a sweep, made from MLflow alone: Markdown, one self-contained HTML file, figures, tables."""

import json
import shlex
import tempfile
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from rnnlab.common.errors import UserError
from rnnlab.common.text import count, duration, listing, number
from rnnlab.report.analysis import Analysis, analyse
from rnnlab.report.cautions import cautions
from rnnlab.report.drawing import Drawn, TaskRows, draw_all, drawers
from rnnlab.report.findings import answer, criterion, health
from rnnlab.report.html import to_html
from rnnlab.report.importance import why_unknown
from rnnlab.report.latex import to_latex
from rnnlab.report.mlflow_page import present
from rnnlab.report.publish import make_folder, publish
from rnnlab.report.tables import (
    Cells,
    ablation_cells,
    factor_cells,
    importance_cells,
    overall_cells,
    pareto_cells,
    reach_cells,
    spending_cells,
)
from rnnlab.statistics.ablation import results, task_of
from rnnlab.statistics.arms_by_task import reach_table
from rnnlab.sweep.plan.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.plan.outline import Planning, read_history
from rnnlab.sweep.show.forecast import typical
from rnnlab.sweep.show.mlflow_page import HISTORY
from rnnlab.tasks import Task
from rnnlab.tracking import store
from rnnlab.tracking.reader import load_sweep


@dataclass(frozen=True)
class StoredSweep:
    """A sweep as MLflow knows it.

    Attributes:
        definition: what was planned.
        source: the text of its YAML file.
        runs: one row a run, oldest first.
        versions: what made them, by name.
        history: how it came to its plan.
    """

    definition: SweepDefinition
    source: str
    runs: pd.DataFrame
    versions: dict[str, str]
    history: tuple[Planning, ...] = ()


def write_report(name: str, out: Path, tracking_uri: str | None = None) -> Path:
    """Write the report of a sweep to a folder and to its page in MLflow, over an older one if there is one.

    Args:
        name: name of the sweep.
        out: folder for report.md, report.html, ablation.csv, figures/ and tables/ (CSV and LaTeX); it is made if it
            is missing, and nothing else in it is touched.
        tracking_uri: the store; the one in use if not given.

    Returns:
        Path of report.html.

    Raises:
        UserError: if the sweep is unknown, none of its final runs has a result yet, or the folder cannot be written to.
    """
    uri = tracking_uri or store.tracking_uri()
    sweep = read_sweep(name, uri)
    make_folder(out)  # who cannot write there learns it before minutes of drawing
    with drawers(sweep.runs) as pool, tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
        analysis, draft = analyse(sweep.runs, sweep.definition, uri), Path(folder)
        markdown = render(sweep, analysis, draft, uri, pool)
        (draft / "report.md").write_text(markdown, encoding="utf-8")
        (draft / "report.html").write_text(to_html(markdown, draft), encoding="utf-8")
        analysis.ablation.to_csv(draft / "ablation.csv", index=False)
        publish(draft, out)
        present(sweep.definition, analysis, draft, uri)
    return out / "report.html"


def read_sweep(name: str, uri: str) -> StoredSweep:
    """Read everything a report needs.

    Args:
        name: name of the sweep.
        uri: MLflow tracking URI.

    Raises:
        UserError: if the sweep is unknown, or none of its final runs has a result yet.
    """
    runs = load_sweep(name, uri)
    if results(runs).empty:
        raise UserError(
            f"sweep '{name}' has no final run with a result yet: let `rnnlab sweep` finish it, then report again; if "
            f"every run failed, mend what their MLflow pages name, delete runs/sweeps/{name} and start it anew"
        )
    newest = runs.iloc[-1]
    client = store.connect(uri)
    with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder, store.explained(uri):
        path = Path(client.download_artifacts(newest["parent_id"], "sweep.yaml", folder))
        definition, source = load_sweep_definition(path), path.read_text(encoding="utf-8")
        tags = client.get_run(newest["run_id"]).data.tags
        history = client.get_run(newest["parent_id"]).data.tags.get(HISTORY, "[]")
    planned = {plan.name for plan in definition.studies}  # an arm of an earlier start may be gone from the newest
    runs = runs.loc[[f"{task}/{arm}" in planned for task, arm in zip(runs["task"], runs["arm"], strict=True)]]
    runs = runs.loc[
        runs["task"].isin(set(results(runs)["task"]))
    ]  # of a task whose search has only begun there is nothing to say
    packages = [name for name in ("python", "torch", "numpy", "optuna", "mlflow") if f"rnnlab.{name}" in tags]
    versions = {"rnnlab": tags["rnnlab.version"], **{name: tags[f"rnnlab.{name}"] for name in packages}}
    versions["commit"] = listing(sorted(set(runs["git_commit"])))
    return StoredSweep(definition, source.strip(), runs, versions, read_history(json.loads(history)))


def render(sweep: StoredSweep, analysis: Analysis, folder: Path, uri: str, pool: Executor | None = None) -> str:
    """Draw the figures, write the tables, and write the text around them.

    Args:
        sweep: the sweep.
        analysis: what was worked out from its runs.
        folder: gets figures/ and tables/.
        uri: where profiles are read from.
        pool: processes that draw.

    Returns:
        Markdown that refers to the figures by relative path.
    """
    for name in ("figures", "tables"):
        (folder / name).mkdir()
    loader = jinja2.PackageLoader("rnnlab.report", ".")
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
    parts = list(_by_task(analysis))
    several = len(parts) > 1
    rows = [TaskRows(part.ablation, part.runs, part.comparisons) for part in parts]
    drawn, glance = draw_all(rows, sweep.runs if several else sweep.runs.iloc[:0], folder, uri, pool)
    sections = [_section(part, sweep.definition, figures) for part, figures in zip(parts, drawn, strict=True)]
    overall = overall_cells(analysis.overall) if len(analysis.overall) else []
    reach = reach_cells(reach_table(sweep.runs)) if several else []
    _write_tables(
        analysis, {**{task["label"]: task["table"] for task in sections}, "overall": overall, "reach": reach}, folder
    )
    return environment.get_template("report.md.j2").render(
        sweep=sweep,
        reference=analysis.reference,
        tasks=sections,
        overall=overall,
        reach=reach,
        glance=glance,
        cautions=cautions(sweep.runs, analysis.ablation, sweep.definition, sweep.history),
        factors=factor_cells(sweep.definition),
        spending=spending_cells(analysis.spending),
        protocol=_protocol(sweep),
    )


def _by_task(analysis: Analysis) -> Iterator[Analysis]:
    """The tables of each task alone, in the order of the definition."""
    names = ("ablation", "runs", "comparisons", "health", "importance", "pareto")
    for label in dict.fromkeys(analysis.ablation["task"]):
        tables = {name: getattr(analysis, name) for name in names}
        yield replace(analysis, **{name: table.loc[table["task"] == label] for name, table in tables.items()})


def _section(part: Analysis, definition: SweepDefinition, figures: list[Drawn]) -> dict[str, Any]:
    """What the report says of one task."""
    rows, contests, task = part.ablation, part.comparisons, task_of(part.runs.iloc[0])
    against = contests.loc[contests["other"] == part.reference]
    return {
        "label": task.label,
        "answer": answer(rows, contests, task, part.reference),
        "facts": _facts(task),
        "table": ablation_cells(rows, part.runs, against, task, definition),
        "health": health(part.health),
        "importance": importance_cells(part.importance),
        "no_importance": _no_importance(rows, definition),
        "pareto": pareto_cells(part.pareto, definition),
        "figures": figures,
        "commands": [
            (row["arm"], _from_definition(row["command"], definition.name))
            for row in rows.to_dict("records")
            if row["command"]
        ],
    }


def _from_definition(command: str, name: str) -> str:
    """The command of a run for who has the definition in the report alone, to which its budget is applied already."""
    words = shlex.split(command)
    return shlex.join([*words[:2], f"{name}.yaml", *words[words.index("--task") :]])


def _no_importance(rows: pd.DataFrame, definition: SweepDefinition) -> str:
    """Why the importance of hyperparameters cannot be told of any arm."""
    trials = rows["search_done"].to_numpy(int).max()
    reasons = dict.fromkeys(why_unknown(definition.space(arm), trials) for arm in rows["arm"])
    return "; ".join(filter(None, reasons))


def _write_tables(analysis: Analysis, texts: dict[str, Cells], folder: Path) -> None:
    """Write every table behind the report as CSV, and those a paper shows as LaTeX."""
    for name in ("overall", "comparisons", "solving", "health", "importance", "spending", "pareto"):
        table = getattr(analysis, name)
        if len(table):
            table.to_csv(folder / "tables" / f"{name}.csv", index=False)
    for name, cells in texts.items():
        if cells:
            (folder / "tables" / f"{name}.tex").write_text(to_latex(cells), encoding="utf-8")


def _facts(task: Task) -> dict[str, str]:
    """What a reader has to know about a task."""
    baseline = task.baseline
    return {
        "Variant": task.variant,
        "Time steps": str(task.steps),
        "Score": f"{task.score_name}, {'higher' if task.higher_is_better else 'lower'} is better",
        "Trivial baseline": f"{task.score_name} {number(baseline.score)}, "
        f"loss {number(baseline.loss)} ({baseline.formula})",
        "Solved": criterion(task),
    }


def _protocol(sweep: StoredSweep) -> dict[str, str]:
    """How the arms were compared, and what that cost."""
    definition, runs = sweep.definition, sweep.runs
    spent = [
        f"{phase}: {count(len(group), 'run')}, {duration(float(group['seconds'].to_numpy(float).sum()))}"
        for phase, group in runs.dropna(subset="seconds").groupby("phase", sort=False)
    ]
    without = int(runs["seconds"].isna().to_numpy().sum())
    unpaid = f"; {count(without, 'run')} that failed, was pruned or still runs left out" if without else ""
    several = f"each on {definition.search_seeds} seeds from {definition.seed} on, whose mean counts"
    seeds = several if definition.search_seeds > 1 else f"all on seed {definition.seed}"
    return {
        "Search": f"{definition.search_trials} trials an arm and task, {seeds}, sampler {definition.sampler}, "
        f"pruner {definition.pruner}; the lowest last validation loss wins, that of a solved trial weighed with the "
        f"share of the updates it took{_cut_short(runs)}",
        "Solved": _when_solved(definition),
        "Then": f"the best point of each arm trained anew on {count(definition.seeds, 'fresh seed')}, the same for "
        f"every arm: {listing([str(seed) for seed in definition.final_seeds()])}",
        "Spent": f"{'; '.join(spent)} (wall time of training and evaluation, one after the other{unpaid})",
    }


def _cut_short(runs: pd.DataFrame) -> str:
    """How many search trials a pruner has left without a result."""
    search = runs.loc[runs["phase"] == "search"]
    pruned = int((search["outcome"] == "pruned").to_numpy().sum())
    return f". Of {count(len(search), 'search run')} {pruned} were pruned before their last update" if pruned else ""


def _when_solved(definition: SweepDefinition) -> str:
    """Which of a run's validations counts."""
    if all(typical(definition, plan).training.stop_when_solved for plan in definition.studies):
        return "a run stops, and counts as solved, at its first validation that meets the criterion"
    return (
        "a run counts as solved where its last validation meets the criterion; curves and updates to solve show the "
        "first that does, after which a run may fall back"
    )
