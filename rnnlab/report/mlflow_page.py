"""What the MLflow dashboard says of a sweep: the report, descriptions, and one line of results for each arm."""

import math
import time
from pathlib import Path
from urllib.parse import quote

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Metric
from PIL import Image

from rnnlab.common.text import interval, number
from rnnlab.report.analysis import Analysis
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.show.mlflow_page import NOTE, headline, overview_run, reading
from rnnlab.tracking.store import connect, experiment_id, explained

PICTURES = {"forest": "Score by arm", "heatmaps": "Gradient norm over time and training"}
"""Figures of the report that descriptions show, by the first part of their names."""
WIDTH = 680
"""Pixels: the dashboard shows pictures as large as they are, and wider ones push the rest of the page out of sight."""
GAP = "&emsp;"
"""Between two columns of a table, where the dashboard leaves none."""
LONGEST = 7900
"""Characters of a note that every store takes."""
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
            pictures = _pictures(client, run_id, report / "figures", str(label))
            tables.append(_paragraphs(f"**{label}**", _table(rows), pictures))
            for row in rows.to_dict("records"):
                parent = parents.loc[(label, row["arm"])]
                arm = f"This is arm **{row['arm']}** on **{label}**."
                client.set_tag(parent, NOTE, _paragraphs(definition.question, arm, _table(rows), pictures, page))
                _log_once(uri, parent, {metric: row[column] for metric, column in AVERAGES.items()})
        ends = headline(definition, experiment), page, reading(experiment)
        whole = _paragraphs(ends[0], *_fitting(tables, LONGEST - sum(map(len, ends))), *ends[1:])
        client.set_tag(run_id, NOTE, whole)
        client.set_experiment_tag(experiment, NOTE, whole)
        client.set_terminated(run_id, "FINISHED")


def _fitting(texts: list[str], room: int) -> list[str]:
    """As many of the first texts as fit: MLflow cuts a note, or refuses it."""
    fits = [sum(map(len, texts[: k + 1])) + 2 * (k + 2) <= room for k in range(len(texts))]
    return texts[: sum(fits)]


def _paragraphs(*texts: str) -> str:
    """One text of those that there are."""
    return "\n\n".join(filter(None, texts))


def _table(rows: pd.DataFrame) -> str:
    """The arms of one task, best first, as Markdown."""
    head = ["Arm", f"{rows['score_name'].iloc[0]} [95%]", "Solved", "Gradient decay at start", "at end"]
    cells = [
        [
            row["arm"],
            interval(row["score"], row["low"], row["high"]),
            f"{row['solved']} of {row['seeds']}",
            number(row["decay_rate_init"]),
            number(row["decay_rate"]),
        ]
        for row in rows.to_dict("records")
    ]
    first, *others = (f"| {f'{GAP} | '.join(row)} |" for row in (head, *cells))
    about = "Decay in decades a time step: 0 keeps the gradient alive, -0.3 halves it every step."
    return "\n".join([first, "|---" * len(head) + "|", *others, "", about])


def _pictures(client: MlflowClient, run_id: str, figures: Path, label: str) -> str:
    """Keep small copies of the telling figures of one task beside the report, and show them in Markdown."""
    shown = []
    for name, title in PICTURES.items():
        file = f"{name}-{label}.png"
        if (figures / file).is_file():
            with Image.open(figures / file) as figure:
                figure.thumbnail((WIDTH, figure.height), Image.Resampling.LANCZOS)
                client.log_image(run_id, figure, f"pictures/{file}")
            # Relative to the dashboard, whatever its address.
            shown.append(f"![{title}](get-artifact?path={quote(f'pictures/{file}')}&run_uuid={run_id})")
    return _paragraphs(*shown)


def _log_once(uri: str, run_id: str, values: dict[str, float]) -> None:
    """Log final numbers of an arm; those that are there already are left alone, for MLflow would add them again."""
    known, now = connect(uri).get_run(run_id).data.metrics, int(time.time() * 1000)
    fresh = {name: value for name, value in values.items() if math.isfinite(value) and known.get(name) != value}
    connect(uri).log_batch(
        run_id, metrics=[Metric(name, value, now, 0) for name, value in fresh.items()], synchronous=True
    )
