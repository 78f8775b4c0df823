"""What became of the sweep `tiny`: its trials, runs and processes, and the laws that they obey."""

import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState

from rnnlab.sweep.plan.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.store.home import FolderHome
from rnnlab.sweep.store.journal import open_storage
from rnnlab.tracking.store import connect, experiment_id, tracking_uri

FOLDER = Path("runs/sweeps/tiny")
LONG = {"base.training.steps": 300, "base.training.stop_when_solved": False, "trials": 2, "seeds": 1}
"""Most of a second a run, so that there is a middle to be killed in."""

WriteSweep = Callable[..., Path]
Slot = tuple[str, str, int]


def keep(path: Path) -> SweepDefinition:
    """Make a sweep known, as its start does first."""
    definition = load_sweep_definition(path)
    FolderHome(FOLDER).keep(path.read_text(), definition.outline, path.name)
    return definition


def journal() -> optuna.storages.JournalStorage:
    """The sweep's journal, once there is one: opening it would make it."""
    if not (FOLDER / "journal.log").exists():
        raise FileNotFoundError(FOLDER)
    return open_storage(FOLDER)


def trials(state: TrialState | None = None) -> list[FrozenTrial]:
    storage = journal()
    every = [
        trial
        for name in optuna.get_all_study_names(storage)
        for trial in optuna.load_study(study_name=name, storage=storage).trials
    ]
    return [trial for trial in every if state in (None, trial.state)]


def runs(kind: str = "child") -> list[Run]:
    client, experiment = connect(tracking_uri()), experiment_id(tracking_uri(), "tiny")
    every = client.search_runs([experiment], max_results=1000)
    return [run for run in every if run.data.tags.get("rnnlab.kind", "child") == kind]


def assert_each_planned_run_was_done_once(definition: SweepDefinition, failed: Slot | None = None) -> None:
    """Planned = done, none twice, none lost: in Optuna, and in MLflow; one slot may have been given up on."""
    planned = Counter(
        (plan.name, phase, slot)
        for plan in definition.studies
        for phase, count in (("search", definition.search_trials), ("final", definition.seeds))
        for slot in range(count)
    )
    storage = journal()
    completed = Counter(
        (name.removesuffix("/final"), trial.user_attrs["phase"], trial.user_attrs["slot"])
        for name in optuna.get_all_study_names(storage)
        for trial in optuna.load_study(study_name=name, storage=storage).trials
        if trial.state == TrialState.COMPLETE
    )
    stored = {run_slot(run): run.info.status for run in runs()}
    assert completed == planned - Counter([failed] if failed else [])
    assert len(runs()) == len(stored)
    assert stored == {slot: "FAILED" if slot == failed else "FINISHED" for slot in planned}
    assert {run.info.status for run in runs("study")} == {"FINISHED"}
    for run in runs():
        history = connect(tracking_uri()).get_metric_history(run.info.run_id, "val/loss")
        assert [point.step for point in history] == sorted({point.step for point in history})


def run_slot(run: Run) -> Slot:
    tags = run.data.tags
    return f"{tags['rnnlab.task']}/{tags['rnnlab.arm']}", tags["rnnlab.phase"], int(tags["rnnlab.trial"])


def assert_points_are_those_planned(definition: SweepDefinition) -> None:
    """Random points depend on the definition alone, and the finals use the best of them."""
    storage = journal()
    for plan in definition.studies:
        search = optuna.load_study(study_name=plan.study_name("search"), storage=storage)
        done = [trial for trial in search.trials if trial.state == TrialState.COMPLETE]
        points = {trial.user_attrs["slot"]: trial.params for trial in done}
        assert points == dict(enumerate(definition.planned_points(plan)))
        final = optuna.load_study(study_name=plan.study_name("final"), storage=storage).trials
        retrained = [trial for trial in final if trial.state == TrialState.COMPLETE]
        assert all(trial.params == search.best_params for trial in retrained)
        assert sorted(trial.user_attrs["seed"] for trial in retrained) == definition.final_seeds()


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if value := condition():
                return value
        except (KeyError, OSError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"nothing happened within {seconds} s")


def worker_pids() -> list[int]:
    pids = [path.read_text().strip() for path in sorted((FOLDER / "workers").glob("*.lock"))]
    return [int(pid) for pid in pids if pid]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def running() -> list[FrozenTrial]:
    return [trial for trial in trials(TrialState.RUNNING) if "worker" in trial.user_attrs]


def later(action: Callable[[], None]) -> threading.Thread:
    """Do something beside the test."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    return thread
