"""What the MLflow dashboard says of a sweep: the report, descriptions, and one line of results for each arm."""

import math
import time
from pathlib import Path

import pandas as pd
from mlflow.entities import Metric

from rnnlab.report.analysis import Analysis
from rnnlab.sweep.definition import SweepDefinition
from rnnlab.sweep.numbers import interval, number
from rnnlab.sweep.overview import NOTE, overview_run, reading
from rnnlab.tracking.store import connect, experiment_id, explained

AVERAGES = {"solved": "solved_fraction", "diverged": "diverged_fraction", "decay_rate": "decay_rate"}
"""Metrics of an arm's run by the column of the ablation table that they repeat; its score is there since it ended."""


def present(definition: SweepDefinition, analysis: Analysis, report: Path, uri: str) -> None:
    """Put the report of a sweep where a reader of the dashboard finds it.

    Args:
        definition: what was planned.
        analysis: what was worked out from its runs.
        report: folder of the finished report.
        uri: MLflow tracking URI.
    """
    client, experiment = connect(uri), experiment_id(uri, definition.name)
    run_id = overview_run(uri, definition.name)
    page = (
        f"[Report with intervals, figures and commands](#/experiments/{experiment}/runs/{run_id}/artifacts/report.html)"
    )
    parents = analysis.runs.drop_duplicates(["task", "arm"]).set_index(["task", "arm"])["parent_id"]
    with explained(uri):
        client.log_artifacts(run_id, str(report))
        tables = []
        for label, rows in analysis.ablation.groupby("task", sort=False):
            tables.append(f"**{label}**\n\n{_table(rows)}")
            for row in rows.to_dict("records"):
                parent = parents.loc[(label, row["arm"])]
                arm = f"This is arm **{row['arm']}** on **{label}**."
                client.set_tag(parent, NOTE, _paragraphs(definition.question, arm, _table(rows), page))
                _log_once(uri, parent, {metric: row[column] for metric, column in AVERAGES.items()})
        whole = _paragraphs(definition.question, *tables, page, reading(experiment))
        client.set_tag(run_id, NOTE, whole)
        client.set_experiment_tag(experiment, NOTE, whole)
        client.set_terminated(run_id, "FINISHED")


def _paragraphs(*texts: str) -> str:
    """One text of those that there are."""
    return "\n\n".join(filter(None, texts))


def _table(rows: pd.DataFrame) -> str:
    """The arms of one task, best first, as Markdown."""
    lines = [
        f"| Arm | {rows['score_name'].iloc[0]} [95%] | Solved | Gradient decay at start | at end |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['arm']} | {interval(row['score'], row['low'], row['high'])} | {row['solved']} of {row['seeds']} "
        f"| {number(row['decay_rate_init'])} | {number(row['decay_rate'])} |"
        for row in rows.to_dict("records")
    ]
    return "\n".join(
        [*lines, "", "Decay in decades a time step: 0 keeps the gradient alive, -0.3 halves it every step."]
    )


def _log_once(uri: str, run_id: str, values: dict[str, float]) -> None:
    """Log final numbers of an arm; those that are there already are left alone, for MLflow would add them again."""
    known, now = connect(uri).get_run(run_id).data.metrics, int(time.time() * 1000)
    fresh = {name: value for name, value in values.items() if math.isfinite(value) and known.get(name) != value}
    connect(uri).log_batch(
        run_id, metrics=[Metric(name, value, now, 0) for name, value in fresh.items()], synchronous=True
    )
