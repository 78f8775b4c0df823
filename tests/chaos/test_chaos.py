"""A sweep whose processes are killed at random moments ends as one that nobody touched.

In the short form everything dies at once, and once. The long form, `make chaos`, kills at least fifty times over one
sweep, and then strikes an MLflow server as well.
"""

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import optuna
import pytest
from forked import Forked
from mlflow.entities import Run
from optuna.trial import TrialState
from own_workers import ThreadPool
from rich.console import Console
from storm import Server, Storm, trials, wait_for

from rnnlab.common.locks import FileLock
from rnnlab.sweep import runner
from rnnlab.sweep.plan.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.plan.space import Point
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.store.journal import open_storage
from rnnlab.tracking.store import connect, experiment_id, tracking_uri
from rnnlab.training.runs import run

FOLDER = Path("runs/sweeps/tiny")
TRAINING = {"base.training.steps": 600, "base.training.eval_every": 200, "base.training.stop_when_solved": False}
LONGER = TRAINING | {"base.training.steps": 6000}
"""For storms: as long as they rage, some runs have to be left, many of which train together."""

Slot = tuple[str, str, int]


def settle(plan: StudyPlan, point: Point, seed: int, expected: dict[Slot, float], stored: Run, slot: Slot) -> float:
    """Train a slot undisturbed and compare what MLflow has of it."""
    result = run(plan.config(point, seed))
    expected[slot] = result.objective
    assert float(stored.data.tags["rnnlab.objective"]) == result.objective
    for name, curve in result.history.items():
        history = connect(tracking_uri()).get_metric_history(stored.info.run_id, name)
        points = sorted((metric.step, metric.value) for metric in history)
        np.testing.assert_equal(points, list(zip(*curve, strict=True)))  # each step once, and bit by bit
    return result.objective


def assert_undisturbed(definition: SweepDefinition) -> None:
    """Planned = finished, none twice, none lost; objectives and curves are those of a sweep that nobody touched."""
    client = connect(tracking_uri())
    found = client.search_runs([experiment_id(tracking_uri(), definition.name)], max_results=5000)
    children = [run for run in found if "mlflow.parentRunId" in run.data.tags]
    stored = {_slot(run): run for run in children}
    assert len(stored) == len(children)
    studies = [run for run in found if run.data.tags.get("rnnlab.kind") == "study"]
    assert {run.info.status for run in children + studies} == {"FINISHED"}
    expected: dict[Slot, float] = {}
    for plan in definition.studies:
        points = definition.planned_points(plan)
        search = [
            settle(plan, point, definition.seed, expected, stored[slot], slot)
            for point, slot in ((point, (plan.name, "search", number)) for number, point in enumerate(points))
        ]
        best = points[int(np.argmin(search))]
        for number, seed in enumerate(definition.final_seeds()):
            slot = (plan.name, "final", number)
            settle(plan, best, seed, expected, stored[slot], slot)
    assert set(stored) == set(expected)
    assert _completed() == Counter(expected.items())


def _slot(run: Run) -> Slot:
    tags = run.data.tags
    return f"{tags['rnnlab.task']}/{tags['rnnlab.arm']}", tags["rnnlab.phase"], int(tags["rnnlab.trial"])


def _completed() -> Counter[tuple[Slot, float]]:
    """Slots and objectives of the completed trials, each as often as it is there; nothing else is left open."""
    storage = open_storage(FOLDER)
    completed: Counter[tuple[Slot, float]] = Counter()
    for name in optuna.get_all_study_names(storage):
        for trial in optuna.load_study(study_name=name, storage=storage).trials:
            assert trial.state in (TrialState.COMPLETE, TrialState.FAIL)
            if trial.state == TrialState.COMPLETE:
                noted, value = trial.user_attrs, trial.value
                assert value is not None
                completed[(name.removesuffix("/final"), noted["phase"], noted["slot"]), value] += 1
    return completed


def assert_nothing_is_left_behind() -> None:
    """No process, no lock that is held, no checkpoint, nothing undelivered."""
    alive = subprocess.run(["pgrep", "-f", str(FOLDER.absolute())], capture_output=True, text=True, check=False).stdout
    assert not alive.strip()
    for path in [FOLDER / "lock", *(FOLDER / "workers").glob("*.lock")]:
        lock = FileLock(path)
        assert lock.acquire(wait=False)
        lock.release()
    assert not (FOLDER / "outbox").exists() and not (FOLDER / "slots").exists()
    assert not list(FOLDER.rglob("*.partial"))


def weather(storm: Storm, capsys: pytest.CaptureFixture[str]) -> None:
    """Let a storm pass, tell of it, and hold the sweep to the laws."""
    began = time.monotonic()
    storm.rage()
    with capsys.disabled():
        what = ", ".join(f"{count} {name}" for name, count in sorted(storm.struck.items()))
        seconds = time.monotonic() - began
        print(f"\n{storm.struck.total()} kills ({what}), {storm.starts} starts, {seconds:.0f} s", file=sys.stderr)
    assert storm.struck.total() >= storm.kills
    assert_undisturbed(load_sweep_definition(storm.path))
    assert_nothing_is_left_behind()


def in_one_process(path: str) -> int:
    """A sweep whose workers are threads of its process, so that one kill hits all."""
    runner.WorkerPool = ThreadPool
    return runner.run_sweep(path).exit_code


@pytest.mark.slow
def test_killed_in_the_middle(workplace: Path, write_sweep: Callable[..., Path], own_workers: None) -> None:
    """Parent and worker die together, with two runs done and two that train together; the same command goes on."""
    path = write_sweep(TRAINING, arms={"lstm": {"cell.kind": "lstm"}}, trials=5, seeds=1, workers=1, population=2)
    victim = Forked(in_one_process, path.name)
    try:
        wait_for(lambda: {TrialState.COMPLETE, TrialState.RUNNING} <= {trial.state for trial in trials(FOLDER)})
        time.sleep(0.2)
    finally:
        victim.kill()
        victim.wait()
    before = Counter(trial.state for trial in trials(FOLDER))
    assert before[TrialState.RUNNING] == 2 and before[TrialState.WAITING]
    assert run_sweep(path.name, console=Console(quiet=True)).exit_code == 0
    assert_undisturbed(load_sweep_definition(path))
    assert_nothing_is_left_behind()


@pytest.mark.long
def test_killed_at_random(workplace: Path, write_sweep: Callable[..., Path], capsys) -> None:
    path = write_sweep(LONGER, trials=90, seeds=10)
    weather(Storm(path, FOLDER, kills=50, seed=1), capsys)


@pytest.mark.long
def test_killed_at_random_with_a_server_that_is_killed_too(
    workplace: Path, write_sweep: Callable[..., Path], capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_sweep(LONGER, trials=45, seeds=5)
    server = Server(workplace)
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        weather(Storm(path, FOLDER, kills=20, seed=2, server=server), capsys)
    finally:
        server.kill()
