"""Sweeps with real workers, killed, stopped, and short of store and disk: every planned run is done exactly once."""

import contextlib
import os
import signal
import sqlite3
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState
from own_workers import ThreadPool
from survey import (
    FOLDER,
    LONG,
    WriteSweep,
    alive,
    assert_each_planned_run_was_done_once,
    journal,
    later,
    running,
    trials,
    wait_for,
    worker_pids,
)

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.show.status import read_status
from rnnlab.sweep.store import slots
from rnnlab.tracking import courier
from rnnlab.tracking.undelivered import UNDELIVERED


def kill_worker(study: str, slot: int, victims: list[str]) -> None:
    """Kill a worker on a slot that is no victim yet, and note it."""

    def found() -> str | None:
        trials = optuna.load_study(study_name=study, storage=journal()).trials
        named = [t for t in trials if t.state == TrialState.RUNNING and t.user_attrs["slot"] == slot]
        workers = [trial.user_attrs.get("worker") for trial in named]
        return workers[0] if workers and workers[0] not in victims else None

    victims.append(wait_for(found))
    time.sleep(0.1)
    os.kill(int(victims[-1].split(":")[1]), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("allowed", [1, pytest.param(slots.ALLOWED_CRASHES, marks=pytest.mark.long)])
def test_workers_killed(
    workplace: Path,
    write_sweep: WriteSweep,
    forked_workers: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    allowed: int,
) -> None:
    """A slot whose worker is killed comes back; one that loses too many is given up on, and counted."""
    monkeypatch.setattr(slots, "ALLOWED_CRASHES", allowed)
    path = write_sweep({**LONG, "base.training.steps": 1000}, arms={"tanh": {}})  # none is over before it is hit
    victims: list[str] = []

    def kill_three() -> None:
        for slot in (0, 1, 0):  # the second while it runs beside the other: it will not wait for a third worker
            kill_worker("adding-5/tanh", slot, victims)

    killer = later(kill_three)
    state = run_sweep(path.name)
    killer.join()
    assert state.complete and len(victims) == 3
    said = capsys.readouterr().out
    assert said.count("worker lost in adding-5/tanh search 0: its worker was killed by SIGKILL") == 2
    assert said.count("worker lost in adding-5/tanh search 1: ") == 1
    definition = load_sweep_definition(path)
    if allowed == 1:
        assert state.failures == [
            "adding-5/tanh search 0: its worker was killed by SIGKILL, by somebody or by the kernel for want of memory"
        ]
        assert (state.all_slots.planned, state.all_slots.done, state.all_slots.failed) == (3, 2, 1)
        assert_each_planned_run_was_done_once(definition, failed=("adding-5/tanh", "search", 0))
    else:
        assert state.failures == [] and state.all_slots.done == 3
        assert_each_planned_run_was_done_once(definition)


@pytest.mark.slow
def test_ctrl_c_stops_cleanly_and_the_same_command_continues(
    workplace: Path, write_sweep: WriteSweep, forked_workers: None, capsys: pytest.CaptureFixture[str]
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
    path = write_sweep(LONG, arms={"tanh": {}, "relu": {"cell.activation": "relu"}})  # it grows on the way
    assert run_sweep(path.name).exit_code == 0
    assert_each_planned_run_was_done_once(load_sweep_definition(path))


@pytest.mark.slow
def test_a_store_that_takes_nothing_costs_nothing(
    workplace: Path,
    write_sweep: WriteSweep,
    own_workers: None,
    impatient: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(courier, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(courier, "RETRY_SECONDS", 0.5)
    path = write_sweep(arms={"tanh": {}}, trials=2)
    locked = sqlite3.connect("runs/mlflow.db", isolation_level=None, check_same_thread=False)
    start = ThreadPool.start

    def lock_and_start(pool: ThreadPool) -> None:
        if not locked.in_transaction:
            locked.execute("BEGIN EXCLUSIVE")
        start(pool)

    with monkeypatch.context() as patched:  # no run, however short, ends before the store is locked
        patched.setattr(ThreadPool, "start", lock_and_start)
        state = run_sweep(path.name)
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


@pytest.mark.slow
def test_a_full_disk_stops_the_sweep_and_the_same_command_goes_on(
    workplace: Path, write_sweep: WriteSweep, forked_workers: None, small_disk: Path
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
