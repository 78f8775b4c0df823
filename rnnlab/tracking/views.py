"""Saved views of the dashboard: which columns and charts of a sweep a reader sees first.

MLflow keeps a saved view as a tag of the experiment, in the format of its own page; a version that knows the format no
longer leaves the view out of its list, and loses nothing else.
"""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

TAG = "mlflow.sharedViewState."
PROFILE_IMAGES = "grad/profile"
"""Name of the pictures of a run's gradient profile; here, so that `rnnlab ui` need not wait for what draws them."""
NAME = "attributes.`Run Name`"
FIXED = (NAME, "runDateAndNestInfo", "duration")
"""Columns that the dashboard shows in every view; it takes an order and widths only for a list of all that it shows."""
RESULTS = ("score", "solved", "diverged", "decay_rate", "half_life", "clipped_fraction")
AVERAGES = ("score", "solved", "diverged", "decay_rate")
"""Of an arm. The mean of half-lives says nothing: one seed whose gradient hardly decays has thousands of steps."""
OUTCOME = "tags.`rnnlab.outcome`"
SECTIONS = ("train", "val", "grad", "remedies", "Model metrics")
"""Groups of metrics by what stands before the slash, the last of those without; of charts no view names."""


class Contents(NamedTuple):
    """What a sweep has to show.

    Attributes:
        tasks: name of the score of each of its tasks, by its label.
        searched: dotted names of the searched hyperparameters.
    """

    tasks: Mapping[str, str]
    searched: Sequence[str]


def saved_views(contents: Contents) -> dict[str, str]:
    """Describe the saved views of a sweep.

    Args:
        contents: what it has to show.

    Returns:
        Tags of the experiment: `arms`, averages over the fresh seeds; `runs`, those runs one by one; and `search`, the
        trials that chose the hyperparameters.
    """
    keys = ["task", "arm"] if len(contents.tasks) > 1 else ["arm"]
    scores = list(dict.fromkeys(contents.tasks.values()))
    curves = [_line(f"val/{score}") for score in scores] + [_line("grad/decay_rate")]
    alike = len(scores) == 1  # scores of several names would share an axis
    goal = "score" if alike else "solved"
    relation, parallel = [_relation()] * alike, _parallel([*keys, *contents.searched], goal)
    # Parameters beside a picture would make its cell as wide as their text, and the first picture fill the page.
    pictures = _chart("IMAGE", "pictures", imageKeys=[PROFILE_IMAGES], step=0, showRunParams=False)
    identity, searched = ([f"params.`{name}`" for name in names] for names in (keys, contents.searched))
    numbers, averages = ([f"metrics.`{name}`" for name in names] for names in (RESULTS, AVERAGES))
    views = {
        # The runs of the studies, which hold their averages. Runs grouped by the dashboard would be a hundred at most:
        # it reads no more at once, and averages what it has read.
        "arms": (
            "Arms: averages over the fresh seeds",
            "tags.`rnnlab.kind` = 'study'",
            [*identity, *averages],
            [_bars(goal), _bars("decay_rate")],
        ),
        "runs": (
            "Runs: every fresh seed",
            "tags.`rnnlab.phase` = 'final'",
            [*identity, "params.`seed`", OUTCOME, *numbers],
            [*curves, *relation, parallel, pictures],
        ),
        "search": (
            "Search: how the hyperparameters were chosen",
            "tags.`rnnlab.phase` = 'search'",
            [*identity, *searched, OUTCOME, *numbers],
            [parallel, *curves],
        ),
    }
    now = int(time.time() * 1000)
    return {
        f"{TAG}{key}": json.dumps({"name": name, "createdAt": now, "updatedAt": now, "state": json.dumps(state)})
        for key, (name, which, columns, charts) in views.items()
        for state in [_state(which, columns, charts, several=len(keys) > 1)]
    }


def link(experiment: str, view: str) -> str:
    """Address of a saved view, relative to the dashboard."""
    return f"#/experiments/{experiment}/runs?workflowType=machine_learning&viewStateShareKey={view}"


def _state(which: str, columns: Sequence[str], charts: Sequence[dict[str, Any]], several: bool) -> dict[str, Any]:
    """The dashboard's own description of a page of runs."""
    sections = [
        {"uuid": "mattered", "name": "Did it matter?", "display": True, "columns": 2},
        {"uuid": "pictures", "name": "Where the gradient goes", "display": True, "columns": 1, "cardHeight": 640},
        *({"uuid": name, "name": name, "display": False} for name in SECTIONS),
    ]
    return {
        "searchFilter": which,
        "orderByKey": "tags.`mlflow.runName`",  # begins with the task, where there are several, and the arm
        "orderByAsc": True,
        "selectedColumns": list(columns),
        "columnOrder": [*FIXED, *columns],
        "columnWidths": {  # pixels
            NAME: 400 if several else 280,
            "params.`task`": 150,
            OUTCOME: 130,
            "metrics.`clipped_fraction`": 130,
        },
        "runsHiddenMode": "SHOW_ALL",
        "compareRunCharts": [{**chart, "uuid": f"rnnlab-{k}"} for k, chart in enumerate(charts)],
        "compareRunSections": [
            {**section, "isReordered": True, "deleted": False, "isGenerated": True} for section in sections
        ],
        "isAccordionReordered": True,
    }


def _line(metric: str) -> dict[str, Any]:
    return _chart(
        "LINE",
        metricKey=metric,
        selectedMetricKeys=[metric],
        displayName=metric,
        useGlobalXaxisKey=True,
        lineSmoothness=0,  # if left out, the dashboard smooths by 70%
    )


def _relation() -> dict[str, Any]:
    return _chart("SCATTER", xaxis=_metric("decay_rate"), yaxis=_metric("score"), runsCountToCompare=100)


def _bars(metric: str) -> dict[str, Any]:
    return _chart("BAR", metricKey=metric, displayName=metric, runsCountToCompare=100)


def _parallel(params: Sequence[str], goal: str) -> dict[str, Any]:
    return _chart("PARALLEL", selectedParams=list(params), selectedMetrics=["decay_rate", goal], showAllRuns=True)


def _metric(name: str) -> dict[str, str]:
    return {"key": name, "type": "METRIC"}


def _chart(kind: str, section: str = "mattered", **fields: Any) -> dict[str, Any]:
    return {"type": kind, "metricSectionId": section, "deleted": False, "isGenerated": False, **fields}
