"""Saved views of the dashboard: which columns and charts of a sweep a reader sees first.

MLflow keeps a saved view as a tag of the experiment, in the format of its own page; a version that knows the format no
longer leaves the view out of its list, and loses nothing else.
"""

import json
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from rnnlab.tracking.images import KEY

TAG = "mlflow.sharedViewState."
RESULTS = ("score", "solved", "diverged", "decay_rate", "half_life", "clipped_fraction")
WIDTHS = {"attributes.`Run Name`": 280, "metrics.`clipped_fraction`": 130}  # pixels
SECTIONS = ("train", "val", "grad", "clip", "Model metrics")
"""Groups of metrics by what stands before the slash, the last of those without; of charts no view names."""


class Contents(NamedTuple):
    """What a sweep has to show.

    Attributes:
        scores: name of the score of each of its tasks.
        searched: dotted names of the searched hyperparameters.
        studies: task and arm of each of its studies.
    """

    scores: Sequence[str]
    searched: Sequence[str]
    studies: Sequence[tuple[str, str]]


def saved_views(contents: Contents) -> dict[str, str]:
    """Describe the saved views of a sweep.

    Args:
        contents: what it has to show.

    Returns:
        Tags of the experiment: `arms`, averages over the fresh seeds; `runs`, those runs one by one; and `search`, the
        trials that chose the hyperparameters.
    """
    several = len({task for task, _ in contents.studies}) > 1
    groups = [{"mode": "param", "groupByData": name} for name in (["arm", "task"] if several else ["arm"])]
    folded = {f"param.arm.{arm}" + f",param.task.{task}" * several: False for task, arm in contents.studies}
    curves = [_line(f"val/{score}") for score in dict.fromkeys(contents.scores)] + [_line("grad/decay_rate")]
    relation = _chart("SCATTER", xaxis=_metric("decay_rate"), yaxis=_metric("score"), runsCountToCompare=100)
    parallel = _chart(
        "PARALLEL",
        selectedParams=["arm", *contents.searched],
        selectedMetrics=["decay_rate", "score"],
        showAllRuns=True,
    )
    pictures = _chart("IMAGE", "pictures", imageKeys=[KEY])
    identity, searched = ("params.`task`", "params.`T`", "params.`arm`"), [f"params.`{x}`" for x in contents.searched]
    numbers = [f"metrics.`{name}`" for name in RESULTS]
    outcome = "tags.`rnnlab.outcome`"
    grouped = {"groupBy": {"aggregateFunction": "average", "groupByKeys": groups}, "groupsExpanded": folded}
    views = {
        "arms": ("Arms: averages over the fresh seeds", "final", [*numbers], [*curves, relation], grouped),
        "runs": (
            "Runs: every fresh seed",
            "final",
            [*identity, "params.`seed`", outcome, *numbers],
            [*curves, relation, parallel, pictures],
            {},
        ),
        "search": (
            "Search: how the hyperparameters were chosen",
            "search",
            [*identity, *searched, outcome, *numbers],
            [parallel, *curves],
            {},
        ),
    }
    now = int(time.time() * 1000)
    return {
        f"{TAG}{key}": json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})
        for key, (name, phase, columns, charts, more) in views.items()
        for state in [_state(phase, columns, charts) | more]
    }


def link(experiment: str, view: str) -> str:
    """Address of a saved view, relative to the dashboard."""
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def _state(phase: str, columns: Sequence[str], charts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The dashboard's own description of a page of runs."""
    sections = [
        {"uuid": "mattered", "name": "Did it matter?", "display": True, "columns": 2},
        {"uuid": "pictures", "name": "Where the gradient goes", "display": True, "columns": 1, "cardHeight": 640},
        *({"uuid": name, "name": name, "display": False} for name in SECTIONS),
    ]
    return {
        "searchFilter": f"tags.`rnnlab.phase` = '{phase}'",
        "orderByKey": "params.`arm`",
        "orderByAsc": True,
        "selectedColumns": list(columns),
        "columnWidths": WIDTHS,
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [{**chart, "uuid": f"rnnlab-{k}"} for k, chart in enumerate(charts)],
        "compareRunSections": [
            {**section, "isReordered": True, "deleted": False, "isGenerated": True} for section in sections
        ],
        "isAccordionReordered": True,
    }


def _line(metric: str) -> dict[str, Any]:
    return _chart("LINE", metricKey=metric, selectedMetricKeys=[metric], displayName=metric, useGlobalXaxisKey=True)


def _metric(name: str) -> dict[str, str]:
    return {"key": f"{name}", "type": "METRIC"}


def _chart(kind: str, section: str = "mattered", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "metricSectionId": section, "deleted": False, "isGenerated": False, **fields}
