"""Brings MLflow up to date with runs on disk, however often it is interrupted."""

import json
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run, RunTag

from rnnlab.common.files import DamagedFileError, digest
from rnnlab.gradients.netcdf import load_arrays
from rnnlab.tasks import TASKS
from rnnlab.tracking.artifacts import PROFILE, draw_figures
from rnnlab.tracking.inputs import log_task
from rnnlab.tracking.outbox import Entry
from rnnlab.tracking.provenance import CONFIG, code_tags, listed_params
from rnnlab.tracking.run_state import RunState, now
from rnnlab.tracking.store import connect, experiment_id, explained, tagged
from rnnlab.training.result import Curve


class Writer:
    """Writes runs to MLflow; one process at a time may do so for an outbox.

    A kill at any moment, or a server that went away in the middle, costs nothing: a run is found again by its
    identity, a point is never stored twice, and the status comes last. An interrupted run stays RUNNING.

    Args:
        uri: MLflow tracking URI of a prepared store.
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._experiments: dict[str, str] = {}
        self._runs: dict[Path, str] = {}
        self._stored: dict[Path, dict[str, dict[int, float]]] = {}

    def deliver(self, entry: Entry) -> str | None:
        """Store everything that an entry holds by now; of a run that has ended, leave a receipt in its place.

        Args:
            entry: the run.

        Returns:
            MLflow's id of the run; None where the entry was damaged, and has been set aside.

        Raises:
            UserError: if the store refuses.
            OSError: if it cannot be reached.
        """
        state = entry.read()
        try:
            if state is not None:
                _check_files(entry, state)
        except DamagedFileError as error:
            entry.set_aside(error)
            return None
        if state is None:
            return None
        try:
            return self._deliver(entry, state)
        except BaseException:
            self._experiments.clear()  # what is there, and what arrived of the run, is known to the store alone
            self.forget(entry)
            raise

    def forget(self, entry: Entry) -> None:
        """Look up in the store what it has of a run before anything more is written."""
        self._runs.pop(entry.folder, None)
        self._stored.pop(entry.folder, None)

    def _deliver(self, entry: Entry, state: RunState) -> str:
        client, begun = connect(self.uri), []
        with explained(self.uri):
            if entry.folder not in self._runs:
                self._runs[entry.folder] = self._open(client, entry, state)
                # Also of a run that was found: it may have been left before it came to this, and again does no harm.
                begun = [Param(k, v) for k, v in {**listed_params(state.tags), **state.params}.items()]
            run_id, metrics = self._runs[entry.folder], self._new_points(entry, state)
            if state.status == "RUNNING":
                client.log_batch(run_id, metrics, begun, synchronous=True)
                return run_id
            if state.files:
                client.log_artifacts(run_id, str(entry.files))
            if PROFILE in state.files:
                _log_pictures(client, run_id, entry.files, state.identity)
            tags = [RunTag(k, v) for k, v in {**state.tags, "rnnlab.outcome": state.outcome}.items()]
            client.log_batch(run_id, metrics, begun, tags, synchronous=True)
            client.set_terminated(run_id, state.status, state.ended)
        entry.close(run_id)
        self.forget(entry)
        return run_id

    def _open(self, client: MlflowClient, entry: Entry, state: RunState) -> str:
        """Find the run, and what the store has of it, or create it."""
        if state.experiment not in self._experiments:
            self._experiments[state.experiment] = experiment_id(self.uri, state.experiment)
        number = self._experiments[state.experiment]
        run = _find(client, number, state)
        if run is None:
            every = {**code_tags(), **state.tags, **state.identity, "rnnlab.outcome": state.outcome}
            run = client.create_run(number, start_time=state.started, tags=every, run_name=state.name)
        if CONFIG in state.tags:
            log_task(client, run.info.run_id, TASKS.read(json.loads(state.tags[CONFIG])["task"]))
        self._stored[entry.folder] = {
            name: {p.step: p.value for p in sorted(client.get_metric_history(run.info.run_id, name), key=_age)}
            for name in run.data.metrics
        }
        return run.info.run_id

    def _new_points(self, entry: Entry, state: RunState) -> list[Metric]:
        """Those points that are not stored yet, or are others now, as of a study that grew; infinities become NaN."""
        # At step 0, whenever the run ended: the dashboard draws a line of one point for any other, and a bar for this.
        final = {name: Curve([0], [value]) for name, value in state.summary.items()}
        stored = self._stored[entry.folder]
        new: list[Metric] = []
        for name, curve in {**state.curves, **final}.items():
            known = stored.setdefault(name, {})
            for step, value in zip(curve.steps, curve.values, strict=True):
                number = value if math.isfinite(value) else math.nan  # an infinity would become 1.8e308 without a word
                if step not in known or (known[step] != number and not math.isnan(number)):
                    new.append(Metric(name, number, state.times.get(step, state.ended or now()), step))
                    known[step] = number
        return new


def _age(point: Metric) -> int:
    return point.timestamp


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


def end_parent(uri: str, run_id: str, tags: Mapping[str, str]) -> None:
    """End a parent run with what came of it, as tags."""
    client = connect(uri)
    with explained(uri):
        client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()], synchronous=True)
        client.set_terminated(run_id, "FINISHED")


def log_file(uri: str, run_id: str, path: Path) -> None:
    """Add a file, such as sweep.yaml or a report, to the artifacts of a run."""
    with explained(uri):
        connect(uri).log_artifact(run_id, str(path))


def _log_pictures(client: MlflowClient, run_id: str, files: Path, identity: Mapping[str, str]) -> None:
    """Show the gradient: in figures, and on the dashboard's slider.

    Thousands of runs of a sweep would take more time to draw than to deliver: the first fresh seed of each arm has the
    slider. Figures of whole arms are in its report.
    """
    phase = identity.get("rnnlab.phase")
    if phase == "search" or (phase == "final" and identity["rnnlab.trial"] != "0"):
        return
    from rnnlab.tracking.slider_images import log_profile_images  # late: it brings matplotlib

    profile = load_arrays(files / PROFILE)
    if phase is None:
        with tempfile.TemporaryDirectory(prefix="rnnlab-") as folder:
            draw_figures(profile, Path(folder))
            client.log_artifacts(run_id, folder)
    log_profile_images(client, run_id, profile)


def _check_files(entry: Entry, state: RunState) -> None:
    for name, expected in state.files.items():
        path = entry.files / name
        if not path.is_file() or digest(path.read_bytes()) != expected:
            raise DamagedFileError(f"{path} is missing or damaged")


def _find(client: MlflowClient, experiment: str, state: RunState) -> Run | None:
    """Look up the run in the store.

    A request that a stalled server answers long after it was given up may have left a second run of one identity.
    """
    if state.run_id is not None:
        return client.get_run(state.run_id)
    found = client.search_runs([experiment], tagged(state.identity), order_by=["attributes.start_time ASC"])
    for double in found[1:]:
        client.delete_run(double.info.run_id)
    return found[0] if found else None
