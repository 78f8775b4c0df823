"""Whole sweeps on several "machines": real PostgreSQL, a real MLflow server, real Ray nodes, all of them killed."""

import importlib.util
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from rich.console import Console

from benchmarks.servers import PASSWORD, QUOTED, Postgres, RayCluster, mlflow_server
from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.show.status import read_status
from rnnlab.sweep.store import heartbeat
from rnnlab.sweep.store.home import DatabaseHome
from rnnlab.sweep.store.postgres import Database
from rnnlab.sweep.store.slots import claim
from rnnlab.sweep.work.join import join_sweep
from rnnlab.sweep.work.supervisor import Supervisor
from rnnlab.sweep.work.worker import Worker
from rnnlab.tracking.store import connect, experiment_id, tracking_uri
from rnnlab.tracking.undelivered import UNDELIVERED

LONG = {"base.training.steps": 300, "base.training.stop_when_solved": False, "trials": 3, "seeds": 1}
SECONDS = 150.0
"""Enough for a busy machine; each of these takes a few seconds of it on a quiet one."""

Start = Callable[..., subprocess.Popen[str]]
WriteSweep = Callable[..., Path]


@pytest.fixture(scope="session")
def mlflow(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Iterator[str]:
    with mlflow_server(tmp_path_factory.mktemp("mlflow"), empty_store) as uri:
        yield uri


@pytest.fixture
def cluster(
    tmp_path: Path, server: Postgres, mlflow: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Database:
    """An empty database and an MLflow server, named in the environment, from an empty working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RNNLAB_STORAGE", server.fresh())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", mlflow)
    return Database(os.environ["RNNLAB_STORAGE"], name_of(request))


def name_of(request: pytest.FixtureRequest) -> str:
    """A sweep's name that no other test has: they share the MLflow server."""
    return request.node.name.replace("_", "-")[:40].rstrip("-")


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.05)
    raise TimeoutError(condition)


def at_work(database: Database) -> list[str]:
    """Names of the workers that run a trial and have signed it."""
    if database.sweep not in database.known():
        return []
    return [pulse.worker for pulse in database.pulses().values() if pulse.worker and pulse.beat]


def assert_each_planned_run_was_done_once(path: Path, database: Database, uri: str) -> None:
    definition = load_sweep_definition(path)
    planned = Counter(
        (name, slot)
        for plan in definition.studies
        for name, count in (
            (plan.study_name("search"), definition.search_trials),
            (plan.study_name("final"), definition.seeds),
        )
        for slot in range(count)
    )
    storage = database.open()
    completed = Counter(
        (study.study_name, trial.user_attrs["slot"])
        for study in (
            optuna.load_study(study_name=name, storage=storage) for name in optuna.get_all_study_names(storage)
        )
        for trial in study.trials
        if trial.state == TrialState.COMPLETE
    )
    assert completed == planned
    found = connect(uri).search_runs([experiment_id(uri, definition.name)], max_results=1000)
    runs = [run for run in found if run.data.tags.get("rnnlab.kind") != "report"]
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert len(runs) == planned.total() + len(definition.studies)
    child = next(run for run in runs if "mlflow.parentRunId" in run.data.tags)
    assert "config.json" in [file.path for file in connect(uri).list_artifacts(child.info.run_id)]


def assert_ends(process: subprocess.Popen[str], again: Callable[[], subprocess.Popen[str]]) -> None:
    """It ends well; where a busy MLflow server was too slow for its patience, the same command delivers the rest."""
    code = process.wait(SECONDS)
    if code == UNDELIVERED:
        code = again().wait(SECONDS)
    assert code == 0, "\n".join(f"{path.name}:\n{path.read_text()}" for path in sorted(Path().glob("*.out")))


def assert_no_password_below(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert PASSWORD.encode() not in content and QUOTED.encode() not in content, path


@pytest.mark.slow
def test_a_sweep_in_a_database(
    workplace: Path,
    server: Postgres,
    write_sweep: WriteSweep,
    own_workers: None,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    """A worker elsewhere that has claimed a slot and fallen silent costs nothing; nobody writes the password down."""
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.2)
    monkeypatch.setattr(heartbeat, "SILENT_SECONDS", 2.0)
    storage = server.fresh()
    database = Database(storage, name_of(request))
    path = write_sweep(name=database.sweep, arms={"tanh": {}}, trials=2, seeds=1)
    definition = load_sweep_definition(path)
    home = DatabaseHome(workplace / "runs" / "sweeps" / database.sweep, storage)
    home.folder.mkdir(parents=True)
    home.keep(path.read_text(), definition.outline, str(path))
    supervisor = Supervisor(definition, home, home.open(), tracking_uri(), Origin.of(path))
    supervisor.open_studies()
    supervisor._plan_slots()
    claimed = claim(Worker(home, tracking_uri()).known_studies())
    assert claimed is not None and database.beat(claimed[1]._trial_id)
    state = run_sweep(path, workers=1, storage=storage, console=Console(quiet=True))
    assert state.complete and not state.failures and "gave no sign of life" in state.retries[0]
    assert_each_planned_run_was_done_once(path, database, tracking_uri())
    assert_no_password_below(workplace)


@pytest.mark.long
def test_workers_join_and_are_lost(
    cluster: Database, server: Postgres, mlflow: str, rnnlab: Start, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    """One is killed, one is asked to stop, the database crashes and the supervisor is killed: nothing is lost."""
    path = write_sweep(LONG, name=cluster.sweep)
    supervisor = rnnlab("sweep", path.name, "--workers", "0")
    wait_for(lambda: cluster.sweep in cluster.known())
    killed, stopped = rnnlab("worker", cluster.sweep), rnnlab("worker", cluster.sweep)
    wait_for(lambda: any(name.endswith(f":{killed.pid}") for name in at_work(cluster)))
    killed.kill()
    wait_for(lambda: any(name.endswith(f":{stopped.pid}") for name in at_work(cluster)))
    stopped.terminate()
    assert stopped.wait(SECONDS) == 3
    status = read_status(cluster.sweep, storage=os.environ["RNNLAB_STORAGE"])
    assert status.parent and status.shared and status.word == "running"
    with pytest.raises(UserError, match="is being run by another process"):
        run_sweep(path, workers=0, storage=os.environ["RNNLAB_STORAGE"], root=tmp_path / "elsewhere")

    last = rnnlab("worker", cluster.sweep)
    wait_for(lambda: any(name.endswith(f":{last.pid}") for name in at_work(cluster)))
    server.stop()
    time.sleep(1.0)
    server.start()
    supervisor.kill()
    supervisor.wait()
    again = rnnlab("sweep", path.name, "--workers", "1")
    assert_ends(again, lambda: rnnlab("sweep", path.name, "--workers", "1"))
    assert_ends(last, lambda: rnnlab("worker", cluster.sweep))
    assert_each_planned_run_was_done_once(path, cluster, mlflow)
    assert_no_password_below(tmp_path)
    assert "***" in (tmp_path / "worker.out").read_text()


@pytest.mark.long
def test_a_worker_alone_finishes_what_is_enqueued(
    cluster: Database, mlflow: str, rnnlab: Start, write_sweep: WriteSweep
) -> None:
    path = write_sweep(name=cluster.sweep, arms={"tanh": {}})
    supervisor = rnnlab("sweep", path.name, "--workers", "0")
    wait_for(lambda: cluster.sweep in cluster.known() and waiting(cluster) == 3)
    supervisor.send_signal(signal.SIGTERM)
    assert supervisor.wait(SECONDS) == 128 + signal.SIGTERM
    assert rnnlab("worker", cluster.sweep).wait(SECONDS) == 3
    status = read_status(cluster.sweep, storage=os.environ["RNNLAB_STORAGE"])
    assert status.word == "stopped" and status.state.all_slots.done == 3
    assert run_sweep(path, workers=1, storage=os.environ["RNNLAB_STORAGE"]).complete
    assert_each_planned_run_was_done_once(path, cluster, mlflow)


def waiting(database: Database) -> int:
    storage = database.open()
    return sum(
        trial.state == TrialState.WAITING
        for study in storage.get_all_studies()
        for trial in storage.get_all_trials(study._study_id)
    )


@pytest.mark.long
def test_ray_loses_a_node_in_the_middle(
    cluster: Database,
    mlflow: str,
    rnnlab: Start,
    write_sweep: WriteSweep,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if importlib.util.find_spec("ray") is None:
        pytest.skip("the package ray is not installed")
    path = write_sweep(LONG, name=cluster.sweep)
    ray = RayCluster(tmp_path, nodes=2)
    try:
        for name, value in ray.environment.items():
            monkeypatch.setenv(name, value)
        supervisor = rnnlab("sweep", path.name, "--engine", "ray", "--address", ray.address)
        wait_for(lambda: len(at_work(cluster)) == 2)
        ray.kill(1)
        assert_ends(supervisor, lambda: rnnlab("sweep", path.name, "--workers", "1"))
    finally:
        ray.stop()
    assert "its worker on Ray was lost" in (tmp_path / "sweep.out").read_text()
    assert_each_planned_run_was_done_once(path, cluster, mlflow)
    assert_no_password_below(tmp_path)


def test_a_changed_definition_is_refused(database: Database, workplace: Path, write_sweep: WriteSweep) -> None:
    home = DatabaseHome(workplace / "runs" / "sweeps" / database.sweep, database._text)
    home.folder.mkdir(parents=True)
    first = write_sweep(name=database.sweep)
    outline = load_sweep_definition(first).outline
    for _ in range(2):  # to start again is to go on
        home.keep(first.read_text(), outline, str(first))
    assert (home.definition(), home.outline()) == (first.read_text(), outline)
    changed = write_sweep(name=database.sweep, seed=4)
    with pytest.raises(UserError, match="seed = 4 instead of 0"):
        home.keep(changed.read_text(), load_sweep_definition(changed).outline, str(changed))
    grown = write_sweep(name=database.sweep, trials=4)
    home.keep(grown.read_text(), load_sweep_definition(grown).outline, str(grown))
    assert (home.definition(), home.outline()) == (grown.read_text(), load_sweep_definition(grown).outline)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"workers": 0}, "workers = 0 is not allowed: choose at least 1; 0 is for workers that join"),
        ({"workers": 5000}, "workers = 5000 is not allowed: choose at most"),
        ({"storage": "foo"}, "--storage is not a URL"),
        ({"engine": "ray"}, "--engine ray needs --storage"),
        ({"engine": "ray", "storage": "postgresql://h/d"}, "--engine ray needs --address"),
        ({"address": "127.0.0.1:1"}, "--address is for a Ray cluster"),
        ({"gpus_per_worker": 1.0}, "--gpus-per-worker is for a Ray cluster"),
    ],
)
def test_engines_say_what_they_need(write_sweep: WriteSweep, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        run_sweep(write_sweep(), **options)


def test_a_worker_without_a_database_says_so() -> None:
    with pytest.raises(UserError, match="a worker joins by --storage"):
        join_sweep("tiny", None)


def test_a_worker_that_joined_sees_what_the_sweep_has_grown_by(
    database: Database, workplace: Path, write_sweep: WriteSweep
) -> None:
    """It plans as little as any worker: a study that its supervisor has not made yet is not there for it."""
    home = DatabaseHome(workplace / "runs" / "sweeps" / database.sweep, database._text)
    home.folder.mkdir(parents=True)
    first = write_sweep(name=database.sweep, arms={"tanh": {}})
    home.keep(first.read_text(), load_sweep_definition(first).outline, str(first))
    worker = Worker(home, tracking_uri())
    for name in worker.plans:
        optuna.create_study(study_name=name, storage=worker.storage)
    worker.look_again()
    assert len(worker.plans) == len(worker.studies) == 2
    grown = write_sweep(name=database.sweep, arms={"tanh": {}, "gru": {"cell.kind": "gru"}}, seeds=7)
    home.keep(grown.read_text(), load_sweep_definition(grown).outline, str(grown))
    worker.look_again()
    assert (len(worker.plans), len(worker.studies), worker.definition.seeds) == (4, 2, 7)
    for name in set(worker.plans) - {study.study_name for study in worker.studies}:
        optuna.create_study(study_name=name, storage=worker.storage)
    worker.look_again()
    assert {study.study_name for study in worker.studies} == set(worker.plans)
