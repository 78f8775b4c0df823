"""Writes one run: its configuration, its curves, its final numbers, its gradient profile and probes."""

import json
import math
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import xarray as xr
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from rnnlab.tasks import Task
from rnnlab.tracking.images import log_profile_images
from rnnlab.tracking.inputs import log_task
from rnnlab.tracking.provenance import code_tags, listed_params
from rnnlab.tracking.store import connect, experiment_id, explained, tagged
from rnnlab.training.result import Curve, Result

OBJECTIVE = "rnnlab.objective"
"""Tag with the number that tuning minimises, written before a run is marked FINISHED."""
PROFILE = "profile.nc"
PROBES = "probes.nc"
FOLLOW_SECONDS = 5.0
REASON_LENGTH = 5000
OUTCOMES = {"FAILED": "failed", "KILLED": "pruned"}


class RunWriter:
    """Writes one run to MLflow from any process.

    A run ends in one of three ways. `finish` gives status FINISHED and the outcome solved, finished or diverged.
    `fail` gives status FAILED for an error and KILLED, as MLflow's own Optuna storage does, for a pruned trial:
    its numbers are not comparable with those of finished runs, so it must not look like one in the UI.
    An interrupted run stays RUNNING until it is taken up again.

    Attributes:
        run_id: MLflow's id of the run.
    """

    def __init__(self, client: MlflowClient, uri: str, run_id: str, resumed: bool) -> None:
        self.run_id = run_id
        self._client = client
        self._uri = uri
        self._resumed = resumed
        self._stored: dict[str, set[int]] = {}
        self._followed = time.monotonic()

    @classmethod
    def start(
        cls,
        uri: str,
        experiment: str,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        parent: str | None = None,
        run_id: str | None = None,
    ) -> Self:
        """Start a run, or take one up that was interrupted.

        Args:
            uri: MLflow tracking URI of a prepared store.
            experiment: name of the experiment, created if need be.
            name: name of the run in the UI.
            tags: tags by name; those that name the code are added.
            params: the flattened configuration.
            parent: id of the parent run.
            run_id: an interrupted run to take up; it keeps its name, tags and parent.

        Returns:
            The writer, its run in status RUNNING.

        Raises:
            UserError: if the store cannot be used, or holds no run `run_id`.
        """
        client = connect(uri)
        resumed = run_id is not None
        with explained(uri):
            if run_id is None:
                family = {"mlflow.parentRunId": parent} if parent else {}
                every = {**code_tags(), **tags, **family, "rnnlab.outcome": "running"}
                number = experiment_id(uri, experiment)
                run_id = client.create_run(number, tags=every, run_name=name).info.run_id
            else:
                _reopen(client, run_id)
            # Also for a resumed run: it may have been killed before it came to this, and once more does no harm.
            entries = [Param(key, value) for key, value in {**listed_params(tags), **params}.items()]
            client.log_batch(run_id, params=entries, synchronous=True)
        return cls(client, uri, run_id, resumed)

    def log_task(self, task: Task) -> None:
        """Name the task's data as the input of the run."""
        with explained(self._uri):
            log_task(self._client, self.run_id, task)

    def log_curves(self, history: Mapping[str, Curve]) -> None:
        """Store those points of the curves whose step is not stored yet; infinities become NaN.

        Args:
            history: curves by name, as of now; they may be handed in again as they grow.
        """
        now = int(time.time() * 1000)
        new: list[Metric] = []
        for name, curve in history.items():
            stored = self._steps(name)
            for step, value in zip(curve.steps, curve.values, strict=True):
                if step not in stored:
                    # MLflow would store an infinity as 1.8e308 without a word.
                    new.append(Metric(name, value if math.isfinite(value) else math.nan, now, step))
                    stored.add(step)
        with explained(self._uri):
            self._client.log_batch(self.run_id, metrics=new, synchronous=True)

    def follow(self, history: Mapping[str, Curve]) -> None:
        """Store the curves so far, at most every few seconds, for those who watch the dashboard."""
        if time.monotonic() - self._followed > FOLLOW_SECONDS:
            self.log_curves(history)
            self._followed = time.monotonic()

    def finish(self, result: Result) -> None:
        """Store everything a run leaves behind and mark it FINISHED.

        Args:
            result: what the run returned. Its configuration, profile, probes and figures become artifacts.
        """
        # At step 0, whenever the run ended: the dashboard draws a line of one point for any other, and a bar for this.
        final = {name: Curve([0], [value]) for name, value in result.summary().items()}
        self.log_curves({**result.history, **final})
        with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder, explained(self._uri):
            write_artifacts(result, Path(folder))
            self._client.log_artifacts(self.run_id, folder)
            if result.profile is not None and result.profile.sizes["step"]:
                log_profile_images(self._client, self.run_id, result.profile)
        self._end("FINISHED", result.outcome)

    def fail(self, reason: str, status: Literal["FAILED", "KILLED"] = "FAILED") -> None:
        """End the run without a result.

        Args:
            reason: why, in words; the end of a long text is kept.
            status: FAILED for an error, KILLED for a pruned trial.
        """
        with explained(self._uri):
            self._client.set_tag(self.run_id, "rnnlab.reason", reason[-REASON_LENGTH:])
        self._end(status, OUTCOMES[status])

    def _end(self, status: str, outcome: str) -> None:
        with explained(self._uri):
            self._client.set_tag(self.run_id, "rnnlab.outcome", outcome)
            self._client.set_terminated(self.run_id, status)

    def _steps(self, name: str) -> set[int]:
        """Steps of a metric that are stored; MLflow would add a second row for one logged again."""
        if name not in self._stored:
            with explained(self._uri):
                known = self._client.get_metric_history(self.run_id, name) if self._resumed else []
            self._stored[name] = {metric.step for metric in known}
        return self._stored[name]


def _reopen(client: MlflowClient, run_id: str) -> None:
    """Bring an ended or interrupted run back to RUNNING."""
    client.update_run(run_id, status="RUNNING")
    client.set_tag(run_id, "rnnlab.outcome", "running")
    if "rnnlab.reason" in client.get_run(run_id).data.tags:
        client.delete_tag(run_id, "rnnlab.reason")


def start_parent(uri: str, experiment: str, name: str, tags: Mapping[str, str], description: str) -> str:
    """Find the run with these tags, or create it; to be called by one process.

    Args:
        uri: MLflow tracking URI of a prepared store.
        experiment: name of the experiment, created if need be.
        name: name of the run in the UI.
        tags: tags by name, which together tell it from every other run.
        description: Markdown shown on the run's page, such as the question of the sweep.

    Returns:
        MLflow's id of the run, which is in status RUNNING.

    Raises:
        UserError: if the store cannot be used.
    """
    client = connect(uri)
    known = experiment_id(uri, experiment)
    with explained(uri):
        found = client.search_runs([known], tagged(tags), max_results=1)
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        every = {**code_tags(), **tags, "mlflow.note.content": description}
        run_id = client.create_run(known, tags=every, run_name=name).info.run_id
        params = [Param(key, value) for key, value in listed_params(tags).items()]
        client.log_batch(run_id, params=params, synchronous=True)
        return run_id


def finish_parent(uri: str, run_id: str, outcome: Mapping[str, float]) -> None:
    """Store what came of a study on its parent run, for the dashboard's list, and mark it FINISHED."""
    now = int(time.time() * 1000)
    metrics = [Metric(name, value, now, 0) for name, value in outcome.items() if math.isfinite(value)]
    with explained(uri):
        connect(uri).log_batch(run_id, metrics=metrics, synchronous=True)
        connect(uri).set_terminated(run_id, "FINISHED")


def log_file(uri: str, run_id: str, path: Path) -> None:
    """Add a file, such as sweep.yaml or a report, to the artifacts of a run."""
    with explained(uri):
        connect(uri).log_artifact(run_id, str(path))


def write_artifacts(result: Result, folder: Path) -> None:
    """Write what a run leaves behind as files.

    Args:
        result: what the run returned.
        folder: gets config.json; if probes ran, probes.nc; and if gradients were recorded, profile.nc,
            figures/heatmap.png and figures/lag.png.
    """
    config = json.dumps(result.config.model_dump(mode="json"), indent=2)
    Path(folder, "config.json").write_text(config + "\n", encoding="utf-8")
    if result.probes is not None:
        write_arrays(result.probes, folder / PROBES)
    profile = result.profile
    if profile is None or not profile.sizes["step"]:
        return
    write_arrays(profile, folder / PROFILE)
    (folder / "figures").mkdir()
    from rnnlab import plots  # late: seaborn takes a second to import, and only recorded runs need it

    for name, draw in {"heatmap": plots.heatmap, "lag": plots.lag_plot}.items():
        plots.save(draw(profile), folder / "figures" / f"{name}.png")


def write_arrays(arrays: xr.Dataset, path: Path) -> None:
    """Write a gradient profile or what probes measured as netCDF, compressed, in float32."""
    compact = {"dtype": "float32", "zlib": True, "complevel": 4}
    floats = [name for name, array in arrays.data_vars.items() if array.dtype.kind == "f"]
    arrays.to_netcdf(path, engine="h5netcdf", encoding=dict.fromkeys(floats, compact))
