"""Reads runs back: gradient profiles and probes as labelled arrays, sweeps as tables."""

import contextlib
import json
import math
import sqlite3
import tempfile
from typing import Any

import pandas as pd
import xarray as xr
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from rnnlab.common.errors import UserError, check_type, nearest
from rnnlab.config.overrides import flatten
from rnnlab.gradients.netcdf import load_arrays
from rnnlab.statistics.gradient_health import EARLY
from rnnlab.tracking import store
from rnnlab.tracking.artifacts import PROBES, PROFILE
from rnnlab.tracking.provenance import CONFIG
from rnnlab.tracking.run_state import OBJECTIVE
from rnnlab.tracking.sqlite_runs import Points, StoredRun, curves, tagged_runs

PAGE = 1000  # runs
RECORDED = {PROFILE: "recording.points above 0", PROBES: "recording.probes = 'standard', 'full' or names of probes"}
MADE_BY = ("git_commit", "version", "python", "torch", "numpy", "optuna", "cpu")
"""Tags of a run that name the code and machine it was made by."""
TEXTS = ("task", "arm", "phase", "outcome", "score_name", "config_hash", "git_commit", "command")
NUMBERS = (
    *(
        "score",
        "loss",
        "steps",
        "steps_to_solve",
        "seconds",
        "cost",
        "decay_rate",
        "decay_rate_stderr",
        "decay_r2",
        "decay_bent",
        "decay_rate_init",
    ),
    *("half_life", "clipped_fraction", "vanished", "exploded"),
)
COLUMNS = [
    *("run_id", "parent_id", "status", "task", "length", "arm", "phase", "seed", "trial", "outcome"),
    *("score_name", "score", "loss", "solved", "diverged", "steps", "steps_to_solve", "seconds"),
    *("objective", "cost"),
    *("decay_rate", "decay_rate_stderr", "decay_r2", "decay_bent", "decay_rate_init", "half_life", "clipped_fraction"),
    *("vanished", "exploded", "config_hash", "git_commit", "command"),
]


def load_profile(run_id: str, tracking_uri: str | None = None) -> xr.Dataset:
    """Read the gradient profile of a run.

    Args:
        run_id: MLflow's id of the run.
        tracking_uri: the store; the one in use if not given.

    Returns:
        Dataset with dims (step, layer, direction, state, time), in memory, float32.

    Raises:
        UserError: if the store cannot be read, or has no such run, or the run recorded no gradients.
    """
    return _load(run_id, PROFILE, tracking_uri)


def load_probes(run_id: str, tracking_uri: str | None = None) -> xr.Dataset:
    """Read what the probes measured along a run.

    Args:
        run_id: MLflow's id of the run.
        tracking_uri: the store; the one in use if not given.

    Returns:
        Dataset with a leading dim step, then layer, direction and those of each quantity, in memory, float32.

    Raises:
        UserError: if the store cannot be read, or has no such run, or the run was not probed.
    """
    return _load(run_id, PROBES, tracking_uri)


def _load(run_id: str, file: str, tracking_uri: str | None) -> xr.Dataset:
    """Read arrays from the artifacts of a run."""
    check_type("run_id", run_id, str)
    check_type("tracking_uri", tracking_uri, str | None)
    uri = tracking_uri or store.tracking_uri()
    client = store.connect(uri)
    try:
        names = [file.path for file in client.list_artifacts(run_id)]
    except MlflowException as error:
        raise UserError(
            f"the tracking store {store.shown(uri)} holds no run '{run_id}': take an id from its dashboard"
        ) from error
    if file not in names:
        raise UserError(
            f"run '{run_id}' holds no {file}: it has not finished, or recorded nothing; "
            f"choose a finished run with {RECORDED[file]}"
        )
    with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder, store.explained(uri):
        return load_arrays(client.download_artifacts(run_id, file, folder))


def load_sweep(name: str, tracking_uri: str | None = None) -> pd.DataFrame:
    """Read every run of a sweep, finished or not.

    Where a sweep was started anew under the same name, the runs of the newest start count, arm by arm: runs of
    both, averaged together, would look like more evidence than there is.

    Args:
        name: name of the sweep.
        tracking_uri: the store; the one in use if not given.

    Returns:
        One row a run, oldest first, with the `COLUMNS` that docs/results.md explains, and one column `param.<name>`
        for every field of the configuration. Numbers that a run does not have, because it has not finished, was
        pruned or recorded nothing, are NaN; `vanished` and `exploded` are 1, 0 or NaN.

    Raises:
        UserError: if the store cannot be read or holds no such sweep.
    """
    check_type("name", name, str)
    check_type("tracking_uri", tracking_uri, str | None)
    uri = tracking_uri or store.tracking_uri()
    store.connect(uri)
    with store.explained(uri):
        studies = _tagged_runs(uri, "rnnlab.kind", "study")
        known = {run.tags["rnnlab.sweep"] for run in studies}
        if name not in known:
            advice = nearest(name, known) if known else "start one with `rnnlab sweep`"
            raise UserError(f"the tracking store {store.shown(uri)} holds no sweep '{name}': {advice}")
        current = {_study(run): run.run_id for run in studies if run.tags["rnnlab.sweep"] == name}
        found = _tagged_runs(uri, "rnnlab.sweep", name)
    newest = set(current.values())
    rows = [_row(run) for run in found if run.tags.get("mlflow.parentRunId") in newest]
    params = sorted({name for row in rows for name in row if name.startswith("param.")})
    return pd.DataFrame(rows, columns=[*COLUMNS, *params])


def load_provenance(name: str, runs: pd.DataFrame, tracking_uri: str) -> dict[str, list[str]]:
    """Read which code, versions and processors made the runs of a sweep.

    Args:
        name: name of the sweep.
        runs: from `load_sweep`.
        tracking_uri: the store.

    Returns:
        By what it is, such as torch, every value that occurs.
    """
    wanted = set(runs["run_id"])
    with store.explained(tracking_uri):
        tags = [run.tags for run in _tagged_runs(tracking_uri, "rnnlab.sweep", name) if run.run_id in wanted]
    return {key: sorted({of_run[f"rnnlab.{key}"] for of_run in tags if f"rnnlab.{key}" in of_run}) for key in MADE_BY}


def _study(run: StoredRun) -> tuple[str | None, str | None]:
    """Task and arm of a study's parent run."""
    return run.tags.get("rnnlab.task"), run.tags.get("rnnlab.arm")


def _tagged_runs(uri: str, key: str, value: str) -> list[StoredRun]:
    """All runs of the store with a tag, oldest first."""
    path = store.sqlite_file(uri)
    if path is not None:
        with contextlib.suppress(sqlite3.Error):
            return tagged_runs(path, key, value)
    return _search(store.connect(uri), {key: value})


def _search(client: MlflowClient, tags: dict[str, str]) -> list[StoredRun]:
    """The same, asked from MLflow."""
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs: list[Run] = []
    token = None
    while True:
        page = client.search_runs(
            experiments, store.tagged(tags), max_results=PAGE, order_by=["attributes.start_time ASC"], page_token=token
        )
        runs += page
        token = page.token
        if not token:
            return [StoredRun(run.info.run_id, run.info.status, run.data.tags, run.data.metrics) for run in runs]


def _row(run: StoredRun) -> dict[str, Any]:
    tags, metrics = run.tags, run.metrics
    fields = dict(flatten(json.loads(tags[CONFIG])))
    if fields.get("remedies") == {}:
        del fields["remedies"]  # none is in force: a section, not a field
    return {
        "run_id": run.run_id,
        "parent_id": tags["mlflow.parentRunId"],
        "status": run.status,
        **{name: tags[f"rnnlab.{name}"] for name in TEXTS},
        **{name: int(tags[f"rnnlab.{name}"]) for name in ("length", "seed", "trial")},
        "objective": float(tags.get(OBJECTIVE, math.nan)),
        **{name: metrics.get(name, math.nan) for name in NUMBERS},
        **{name: metrics.get(name) == 1 for name in ("solved", "diverged")},
        **{f"param.{name}": value for name, value in fields.items()},
    }


def early_decay(runs: pd.DataFrame, uri: str) -> pd.Series:
    """Read the decay rate of every run early in its training, from its curve.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`.
        uri: MLflow tracking URI.

    Returns:
        Decades a step of lag, at the last recorded training step within the first 5% of the planned updates, with
        the index of `runs`; NaN where a run recorded none after its first update.
    """
    early = pd.Series(math.nan, index=runs.index)
    measured = runs.loc[runs["decay_rate_init"].notna()]
    with store.explained(uri):
        known = _curves(uri, measured["run_id"].tolist(), "grad/decay_rate")
    for index, run_id, budget in zip(measured.index, measured["run_id"], measured["param.training.steps"], strict=True):
        points = [(step, value) for step, value in known[run_id] if 0 < step <= EARLY * budget]
        early[index] = max(points, default=(0, math.nan))[1]
    return early


def _curves(uri: str, run_ids: list[str], key: str) -> dict[str, Points]:
    """One curve of many runs."""
    path, client = store.sqlite_file(uri), store.connect(uri)
    if path is not None:
        with contextlib.suppress(sqlite3.Error):
            return curves(path, run_ids, key)
    return {
        run_id: [(point.step, point.value) for point in client.get_metric_history(run_id, key)] for run_id in run_ids
    }
