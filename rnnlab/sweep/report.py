"""The report of a sweep, made from MLflow alone: Markdown, one self-contained HTML file, figures, a CSV table."""

import math
import os
import tempfile
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from rnnlab.errors import UserError
from rnnlab.plots import save
from rnnlab.sweep.cautions import cautions
from rnnlab.sweep.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.figures import Figure, task_figures
from rnnlab.sweep.findings import answer, criterion
from rnnlab.sweep.html import to_html
from rnnlab.sweep.numbers import count, duration, interval, listing, number, whole
from rnnlab.sweep.space import Dimension
from rnnlab.sweep.statistics import ablation_table, has_result, task_of
from rnnlab.tasks import Task
from rnnlab.tracking import store
from rnnlab.tracking.reader import load_sweep


@dataclass(frozen=True)
class Sweep:
    """A sweep as MLflow knows it.

    Attributes:
        definition: what was planned.
        source: the text of its YAML file.
        runs: one row a run, oldest first.
        versions: what made them, by name.
    """

    definition: SweepDefinition
    source: str
    runs: pd.DataFrame
    versions: dict[str, str]


def write_report(name: str, out: Path, tracking_uri: str | None = None) -> Path:
    """Write the report of a sweep, over an older one if there is one.

    Args:
        name: name of the sweep.
        out: folder for report.md, report.html, ablation.csv and figures/; it is made if it is missing, and
            nothing else in it is touched.
        tracking_uri: the store; the one in use if not given.

    Returns:
        Path of report.html.

    Raises:
        UserError: if the sweep is unknown, or none of its final runs has a result yet.
    """
    uri = tracking_uri or store.tracking_uri()
    sweep = read_sweep(name, uri)
    table = ablation_table(sweep.runs)
    with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
        draft = Path(folder)
        markdown = render(sweep, table, draft, uri)
        (draft / "report.md").write_text(markdown, encoding="utf-8")
        (draft / "report.html").write_text(to_html(markdown, draft), encoding="utf-8")
        table.to_csv(draft / "ablation.csv", index=False)
        _publish(draft, out)
    return out / "report.html"


def read_sweep(name: str, uri: str) -> Sweep:
    """Read everything a report needs.

    Args:
        name: name of the sweep.
        uri: MLflow tracking URI.

    Raises:
        UserError: if the sweep is unknown, or none of its final runs has a result yet.
    """
    runs = load_sweep(name, uri)
    if not (has_result(runs) & (runs["phase"] == "final")).to_numpy().any():
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
    packages = [name for name in ("python", "torch", "numpy", "optuna", "mlflow") if f"rnnlab.{name}" in tags]
    versions = {"rnnlab": tags["rnnlab.version"], **{name: tags[f"rnnlab.{name}"] for name in packages}}
    return Sweep(definition, source.strip(), runs, versions | {"commit": listing(sorted(set(runs["git_commit"])))})


def render(sweep: Sweep, table: pd.DataFrame, folder: Path, uri: str) -> str:
    """Draw the figures and write the text around them.

    Args:
        sweep: the sweep.
        table: from `ablation_table`.
        folder: gets figures/.
        uri: where profiles are read from.

    Returns:
        Markdown that refers to the figures by relative path.
    """
    (folder / "figures").mkdir()
    loader = jinja2.PackageLoader("rnnlab.sweep", ".")
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True)
    sections = []
    for label, rows in table.groupby("task", sort=False):
        runs = sweep.runs.query("task == @label")
        task = task_of(runs.iloc[0])
        sections.append(
            {
                "label": label,
                "answer": answer(rows, task),
                "facts": _facts(task),
                "table": _cells(rows, runs, task, sweep.definition),
                "figures": [_saved(figure, folder) for figure in task_figures(rows, runs, task, uri)],
                "commands": [(row["arm"], row["command"]) for row in rows.to_dict("records") if row["command"]],
            }
        )
    return environment.get_template("report.md.j2").render(
        sweep=sweep,
        tasks=sections,
        cautions=cautions(sweep.runs, table, sweep.definition),
        protocol=_protocol(sweep),
    )


def _saved(figure: Figure, folder: Path) -> Figure:
    save(figure.axes, folder / "figures" / f"{figure.name}.png")
    return figure


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


def _cells(rows: pd.DataFrame, runs: pd.DataFrame, task: Task, definition: SweepDefinition) -> list[list[str]]:
    """The ablation table as text, header first."""
    tuned = runs.query("phase == 'final'").drop_duplicates("arm").set_index("arm")
    header = ["Arm", *(f"Tuned {name}" for name in definition.search)]
    header += [f"{task.score_name} [95%]", "Solved [95%]", "Steps to solve", "Decay at start", "Decay at end"]
    header += ["Diverged", "Failed", "Time a run", "Search trials"]
    cells = [header]
    for row in rows.to_dict("records"):
        settings = [_setting(tuned[f"param.{name}"].get(row["arm"], math.nan)) for name in definition.search]
        solved = f"{row['solved']} of {row['seeds']}"
        cells.append(
            [
                f"**{row['arm']}**" if 0 < row["seeds"] == row["solved"] else row["arm"],
                *settings,
                interval(row["score"], row["low"], row["high"]),
                f"{solved} [{number(row['solved_low'], 2)}, {number(row['solved_high'], 2)}]",
                whole(row["steps_to_solve"]),
                number(row["decay_rate_init"]),
                number(row["decay_rate"]),
                str(row["diverged"]),
                str(row["failed"]),
                duration(row["seconds"]),
                _trials(row),
            ]
        )
    return cells


def _setting(value: object) -> str:
    """A tuned value as a reader wants it; the exact one is in the command."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return str(value)
    return number(float(value)) if value % 1 else whole(float(value))


def _trials(row: dict[str, Any]) -> str:
    """Search trials of an arm, with what went wrong in them."""
    troubles = [f"{row[f'search_{what}']} {what}" for what in ("failed", "diverged") if row[f"search_{what}"]]
    return " ".join([str(row["search_done"]), f"({', '.join(troubles)})" if troubles else ""]).strip()


def _protocol(sweep: Sweep) -> dict[str, str]:
    """How the arms were compared, and what that cost."""
    definition, runs = sweep.definition, sweep.runs
    space = [f"`{name}` {_range(dimension)}" for name, dimension in definition.search.items()]
    spent = [
        f"{phase}: {count(len(group), 'run')}, {duration(float(group['seconds'].to_numpy(float).sum()))}"
        for phase, group in runs.dropna(subset="seconds").groupby("phase", sort=False)
    ]
    without = int(runs["seconds"].isna().to_numpy().sum())
    unpaid = f"; {count(without, 'run')} that failed, was pruned or still runs left out" if without else ""
    return {
        "Factor under study": f"the arm: {listing(list(definition.arms))}",
        "Searched, alike for every arm": "; ".join(space),
        "Search": f"{definition.search_trials} trials an arm and task, all on seed {definition.seed}, "
        f"sampler {definition.sampler}, pruner {definition.pruner}; the lowest last validation loss wins, that of a "
        "solved trial weighed with the share of the updates it took",
        "Then": f"the best point of each arm trained anew on {count(definition.seeds, 'fresh seed')}, the same for "
        f"every arm: {listing([str(seed) for seed in definition.final_seeds()])}",
        "Spent": f"{'; '.join(spent)} (wall time of training and evaluation, one after the other{unpaid})",
    }


def _range(dimension: Dimension) -> str:
    if dimension.choices is not None:
        return f"one of {listing([str(choice) for choice in dimension.choices])}"
    scale = ", logarithmic" if dimension.log else ""
    return f"from {dimension.low:g} to {dimension.high:g}{scale}"


def _publish(draft: Path, out: Path) -> None:
    """Move every file into place, each at once, so that no reader meets half a file."""
    try:
        for source in sorted(path for path in draft.rglob("*") if path.is_file()):
            target = out / source.relative_to(draft)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
            try:
                partial.write_bytes(source.read_bytes())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"cannot write the report to {out}: {error.strerror}; choose a folder you can write to"
        ) from None
