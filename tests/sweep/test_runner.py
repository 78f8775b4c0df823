"""Whole sweeps with real workers: every planned run is done exactly once, whatever is killed on the way."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from mlflow.entities import Run
from optuna.trial import FrozenTrial, TrialState
from rich.console import Console

from rnnlab.errors import UserError
from rnnlab.locks import FileLock
from rnnlab.report.front import front_table
from rnnlab.report.report import write_report
from rnnlab.sweep import slots
from rnnlab.sweep.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.status import read_status
from rnnlab.sweep.storage import open_storage
from rnnlab.tracking import courier
from rnnlab.tracking.outbox import UNDELIVERED
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.store import connect, experiment_id, tracking_uri

FOLDER = Path("runs/sweeps/tiny")
PARENT = "import sys; from rnnlab.sweep.runner import run_sweep; sys.exit(run_sweep(sys.argv[1]).exit_code)"
LONG = {"base.training.steps": 300, "base.training.stop_when_solved": False, "trials": 2, "seeds": 1}
"""Most of a second a run, so that there is a middle to be killed in."""

WriteSweep = Callable[..., Path]
Slot = tuple[str, str, int]


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
        for plan in definition.plan()
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
    for plan in definition.plan():
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


def test_a_whole_sweep(workplace: Path, write_sweep: WriteSweep, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_sweep()
    definition = load_sweep_definition(path)
    state = run_sweep(path.name, workers=2)
    assert state.complete and state.exit_code == 0
    assert (state.all_slots.planned, state.all_slots.done, state.failures) == (10, 10, [])
    assert_each_planned_run_was_done_once(definition)
    assert_points_are_those_planned(definition)
    assert len(runs("study")) == 2 and not (FOLDER / "slots").exists()
    for run in runs():
        assert run.data.tags["rnnlab.seed"] in (
            ["0"] if run.data.tags["rnnlab.phase"] == "search" else ["1000", "1001"]
        )
    for parent in runs("study"):
        final = [run for run in runs() if run.data.tags["mlflow.parentRunId"] == parent.info.run_id]
        scores = [r.data.metrics["score"] for r in final if r.data.tags["rnnlab.phase"] == "final"]
        assert parent.data.metrics["score"] == pytest.approx(sum(scores) / 2)
        assert parent.data.metrics["runs"] == 2 and "tuned/optimizer.lr" in parent.data.metrics
    capsys.readouterr()

    before = (FOLDER / "journal.log").read_bytes()
    assert run_sweep(path.name).complete
    assert "complete: 10 runs done" in capsys.readouterr().out
    assert (FOLDER / "journal.log").read_bytes() == before

    with pytest.raises(UserError, match="has changed since sweep 'tiny' was started"):
        run_sweep(write_sweep(trials=4).name)
    assert (FOLDER / "journal.log").read_bytes() == before


def test_a_grid_with_one_worker_visits_every_cell_once(workplace: Path, write_sweep: WriteSweep) -> None:
    search = {
        "optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True, "points": 3},
        "cell.hidden_size": {"choices": [2, 3]},
    }
    path = write_sweep(sampler="grid", search=search, trials=None, seeds=1, arms={"tanh": {}})
    state = run_sweep(path, workers=1)
    assert state.all_slots.done == 7
    tried = [
        (r.data.params["optimizer.lr"], r.data.params["cell.hidden_size"])
        for r in runs()
        if r.data.tags["rnnlab.phase"] == "search"
    ]
    assert len(tried) == len(set(tried)) == 6


def test_tpe_and_the_median_pruner_settle_every_slot(workplace: Path, write_sweep: WriteSweep) -> None:
    search = {"optimizer.lr": {"low": 1e-6, "high": 1.0, "log": True}}
    path = write_sweep(sampler="tpe", pruner="median", trials=5, seeds=1, search=search, arms={"tanh": {}})
    state = run_sweep(path, workers=1)
    assert state.all_slots.done == 6 and not state.failures
    tried = [trial.params["optimizer.lr"] for trial in trials() if trial.user_attrs["phase"] == "search"]
    assert len(set(tried)) == 5


def test_score_against_cost_on_two_seeds_with_three_workers(workplace: Path, write_sweep: WriteSweep) -> None:
    """Every seed of every trial is one run, the best score on the front is trained again, and the report shows it."""
    search = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "cell.hidden_size": {"choices": [2, 4, 8]}}
    path = write_sweep(sampler="nsga2", search=search, trials=6, search_seeds=2, arms={"tanh": {}}, workers=3)
    state = run_sweep(path)
    assert (state.all_slots.planned, state.all_slots.done, state.unit) == (8, 8, "trials")
    stored = Counter((*run_slot(run)[1:], run.data.tags["rnnlab.seed"]) for run in runs())
    assert stored == Counter(
        [*(("search", slot, seed) for slot in range(6) for seed in "01"), ("final", 0, "1000"), ("final", 1, "1001")]
    )
    study = optuna.load_study(study_name="adding-5/tanh", storage=journal())
    best = min(study.best_trials, key=lambda trial: trial.values[0])
    finals = optuna.load_study(study_name="adding-5/tanh/final", storage=journal()).trials
    assert [trial.params for trial in finals] == [best.params] * 2

    table = front_table(load_sweep("tiny"), load_sweep_definition(path).search)
    assert sorted(table["trial"]) == sorted(trial.user_attrs["slot"] for trial in study.best_trials)
    assert table["trial"].iloc[0] == best.user_attrs["slot"]
    text = write_report("tiny", workplace / "report").with_suffix(".md").read_text()
    assert "**What does a better score cost?**" in text and "6 trials an arm and task, each on 2 seeds" in text


def test_parent_killed_again_and_again(workplace: Path, write_sweep: WriteSweep) -> None:
    path = write_sweep(LONG)
    rng = random.Random(0)
    for _ in range(2):
        with Path("parent.log").open("ab") as log:
            parent = subprocess.Popen([sys.executable, "-c", PARENT, path.name], stdout=log, stderr=log)
        wait_for(running)
        time.sleep(rng.uniform(0.0, 1.5))
        parent.kill()
        parent.wait()
    assert trials(TrialState.COMPLETE) != trials()
    assert run_sweep(path.name).complete
    definition = load_sweep_definition(path)
    assert_each_planned_run_was_done_once(definition)
    assert_points_are_those_planned(definition)


@pytest.mark.parametrize("allowed", [1, pytest.param(slots.ALLOWED_CRASHES, marks=pytest.mark.long)])
def test_workers_killed(
    workplace: Path, write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch, allowed: int
) -> None:
    """A slot whose worker is killed comes back; one that loses too many is given up on, and counted."""
    monkeypatch.setattr(slots, "ALLOWED_CRASHES", allowed)
    path = write_sweep({**LONG, "base.training.steps": 2000})  # none is over before it is hit
    victims: list[str] = []

    def kill(name: str, slot: int) -> None:
        def found() -> str | None:
            study = optuna.load_study(study_name=name, storage=journal())
            named = [t for t in study.trials if t.state == TrialState.RUNNING and t.user_attrs["slot"] == slot]
            workers = [trial.user_attrs.get("worker") for trial in named]
            return workers[0] if workers and workers[0] not in victims else None

        victims.append(wait_for(found))
        time.sleep(0.1)
        os.kill(int(victims[-1].split(":")[1]), signal.SIGKILL)

    def kill_three() -> None:
        kill("adding-5/tanh", 0)
        kill("adding-5/tanh", 0)
        kill("adding-5/lstm", 1)

    killer = later(kill_three)
    state = run_sweep(path.name)
    killer.join()
    assert state.complete and len(victims) == 3
    definition = load_sweep_definition(path)
    if allowed == 1:
        assert state.failures == [
            "adding-5/tanh search 0: its worker was killed by SIGKILL, as the kernel does when memory runs out"
        ]
        assert (state.all_slots.planned, state.all_slots.done, state.all_slots.failed) == (6, 5, 1)
        assert_each_planned_run_was_done_once(definition, failed=("adding-5/tanh", "search", 0))
    else:
        assert state.failures == [] and state.all_slots.done == 6
        assert_each_planned_run_was_done_once(definition)


def test_ctrl_c_stops_cleanly_and_the_same_command_continues(
    workplace: Path, write_sweep: WriteSweep, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_sweep(LONG, arms={"tanh": {}})

    def press() -> None:
        wait_for(running)
        os.kill(os.getpid(), signal.SIGINT)

    later(press)
    state = run_sweep(path.name)
    assert state.exit_code == 130 and not state.complete
    assert "go on with: rnnlab sweep tiny.yaml" in capsys.readouterr().out
    assert not trials(TrialState.RUNNING)
    assert not any(alive(pid) for pid in worker_pids())
    assert list((FOLDER / "slots").rglob("checkpoint.pt"))
    assert run_sweep(path.name).exit_code == 0
    assert_each_planned_run_was_done_once(load_sweep_definition(path))


def test_a_store_that_takes_nothing_costs_nothing(
    workplace: Path, write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(courier, "PATIENCE_SECONDS", 1.0)
    path = write_sweep()
    locked = sqlite3.connect("runs/mlflow.db", isolation_level=None, check_same_thread=False)

    def lock() -> None:
        wait_for(running)
        locked.execute("BEGIN EXCLUSIVE")

    locker = later(lock)
    state = run_sweep(path.name)
    locker.join()
    assert state.complete and state.undelivered and state.exit_code == UNDELIVERED
    out = capsys.readouterr().out
    assert "MLflow: the tracking store" in out and "is locked" in out
    assert f"everything: {state.undelivered} run" in out and "deliver with: rnnlab sweep tiny.yaml" in out
    status = read_status("tiny")
    assert (status.word, status.exit_code, status.state.undelivered) == ("undelivered", UNDELIVERED, state.undelivered)
    locked.execute("ROLLBACK")
    before = len(trials())
    assert run_sweep(path.name).exit_code == 0
    assert len(trials()) == before  # nothing is trained again
    assert_each_planned_run_was_done_once(load_sweep_definition(path))
    assert read_status("tiny").word == "complete" and not (FOLDER / "outbox").exists()


def test_a_full_disk_stops_the_sweep_and_the_same_command_goes_on(
    workplace: Path, write_sweep: WriteSweep, small_disk: Path
) -> None:
    """The sweep's own disk is full; MLflow's is another one."""
    path = write_sweep({"arms": {"tanh": {}}})
    filler = small_disk / "filler"

    def fill() -> None:
        wait_for(lambda: list((small_disk / "sweeps" / "tiny" / "workers").glob("*.lock")))
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    filling = later(fill)
    with pytest.raises(UserError, match=rf"cannot write to {small_disk}.*make room, then go on with: rnnlab sweep"):
        run_sweep(path, root=small_disk)
    filling.join()
    with pytest.raises(UserError, match="make room"):  # nobody has made any
        run_sweep(path, root=small_disk)
    filler.unlink()
    assert run_sweep(path, root=small_disk).exit_code == 0
    Path("runs/sweeps").symlink_to(small_disk / "sweeps")
    assert_each_planned_run_was_done_once(load_sweep_definition(path))
    assert not list(small_disk.rglob("*torn*"))


def test_a_second_parent_is_refused(workplace: Path, write_sweep: WriteSweep) -> None:
    FOLDER.mkdir(parents=True)
    first = FileLock(FOLDER / "lock")
    first.acquire()
    with pytest.raises(UserError, match="sweep 'tiny' is being run by another process"):
        run_sweep(write_sweep())
    assert [path.name for path in FOLDER.iterdir()] == ["lock"]


def test_an_unreadable_journal_is_refused_and_left_alone(workplace: Path, write_sweep: WriteSweep) -> None:
    path = write_sweep()
    FOLDER.mkdir(parents=True)
    (FOLDER / "sweep.yaml").write_bytes(path.read_bytes())
    (FOLDER / "journal.log").write_bytes(b"not a journal\nat all\n")
    with pytest.raises(UserError, match=r"journal .*journal\.log is unreadable at line 1"):
        run_sweep(path)
    assert (FOLDER / "journal.log").read_bytes() == b"not a journal\nat all\n"


def test_workers_that_cannot_start_end_the_sweep_with_a_hint(
    workplace: Path, write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(workplace))
    (workplace / "torch.py").write_text("raise ImportError('no torch here')")
    with pytest.raises(UserError, match=r"read .*workers/0\.log"):
        run_sweep(write_sweep(), workers=1, console=Console(quiet=True))
    assert "no torch here" in (FOLDER / "workers" / "0.log").read_text()
