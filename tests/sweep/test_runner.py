"""Whole sweeps with real workers: every planned run is done exactly once."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from own_workers import hurry
from rich.console import Console
from survey import (
    FOLDER,
    WriteSweep,
    assert_each_planned_run_was_done_once,
    assert_points_are_those_planned,
    journal,
    keep,
    run_slot,
    runs,
    trials,
)

from rnnlab.common.errors import UserError
from rnnlab.common.locks import FileLock
from rnnlab.report.report import write_report
from rnnlab.statistics.pareto import pareto_table
from rnnlab.sweep.plan.definition import load_sweep_definition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.runner import run_sweep
from rnnlab.sweep.store.home import FolderHome
from rnnlab.sweep.store.slots import claim
from rnnlab.sweep.work.supervisor import Supervisor
from rnnlab.sweep.work.worker import Worker
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.store import prepare_store, tracking_uri
from rnnlab.training.company import complete


def test_a_sweep_that_comes_with_the_package_is_run_by_its_name(
    workplace: Path, write_sweep: WriteSweep, own_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workplace / "sweeps").mkdir()
    path = write_sweep(trials=2, seeds=1, workers=1, arms={"tanh": {}}).rename(workplace / "sweeps" / "shipped.yaml")
    monkeypatch.setattr("rnnlab.common.shipped.FOLDER", workplace)
    state = run_sweep("shipped", workers=1, console=Console(quiet=True))
    assert state.complete and next(Path("runs/sweeps").glob("*/sweep.yaml")).read_bytes() == path.read_bytes()


@pytest.mark.slow
def test_a_whole_sweep(
    workplace: Path, write_sweep: WriteSweep, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers have neither MLflow nor what only some samplers need."""
    (workplace / "missing").mkdir()
    for name in ("mlflow", "cmaes"):
        (workplace / "missing" / f"{name}.py").write_text(f"raise ImportError('no {name} here')")
    monkeypatch.setenv("PYTHONPATH", f"{workplace / 'missing'}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    path = write_sweep()
    definition = load_sweep_definition(path)
    state = run_sweep(path.name, workers=1)  # of several, three of them, below
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

    with pytest.raises(UserError, match="trials = 4 instead of 3 might find other best points"):
        run_sweep(write_sweep(trials=4).name)
    assert (FOLDER / "journal.log").read_bytes() == before


@pytest.mark.slow
def test_a_sweep_grows_in_the_middle_and_at_its_end(
    workplace: Path, write_sweep: WriteSweep, own_workers: None
) -> None:
    """The journal holds what a killed start left: half of a search, one slot of it running."""
    first = write_sweep(arms={"tanh": {}}, trials=2, seeds=1)
    definition, origin = keep(first), Origin.of(first)
    home, uri = FolderHome(FOLDER), tracking_uri()
    prepare_store(uri)
    before = Supervisor(definition, home, home.open(), uri, origin)
    before.open_studies()
    before._plan_slots()
    worker = Worker(home, uri)
    claimed = claim(worker.known_studies())
    assert claimed is not None
    complete(worker._work_on(*claimed))
    assert claim(worker.known_studies()) is not None
    [done] = trials(TrialState.COMPLETE)

    grown = write_sweep(arms={"lstm": {"cell.kind": "lstm"}, "tanh": {}}, trials=4, seeds=2)
    assert run_sweep(grown, workers=1).all_slots.done == 12
    assert_each_planned_run_was_done_once(load_sweep_definition(grown))
    assert_points_are_those_planned(load_sweep_definition(grown))
    assert done.datetime_complete in {trial.datetime_complete for trial in trials(TrialState.COMPLETE)}

    more = write_sweep(arms={"lstm": {"cell.kind": "lstm"}, "tanh": {}}, trials=4, seeds=3)
    finished = {run.info.run_id: run.info.end_time for run in runs()}
    assert run_sweep(more, workers=1).all_slots.done == 14  # the studies were closed, and are opened again
    assert_each_planned_run_was_done_once(load_sweep_definition(more))
    assert finished.items() <= {run.info.run_id: run.info.end_time for run in runs()}.items()
    assert {run.data.metrics["runs"] for run in runs("study")} == {3}
    assert (FOLDER / "sweep.yaml").read_text() == more.read_text()
    report = write_report("tiny", workplace / "report").with_suffix(".md").read_text()
    assert "on 3 fresh seeds" in report and report.count(": 3 fresh seeds instead of 2. What was finished") == 1
    with pytest.raises(UserError, match="seeds = 2 is less than 3"):
        run_sweep(write_sweep(arms={"lstm": {"cell.kind": "lstm"}, "tanh": {}}, trials=4, seeds=2))


def test_a_grid_with_one_worker_visits_every_cell_once(
    workplace: Path, write_sweep: WriteSweep, own_workers: None
) -> None:
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


def test_a_last_slot_that_is_settled_after_the_look_leaves_nothing_undelivered(
    workplace: Path, write_sweep: WriteSweep, own_workers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker may settle it between the supervisor's look at the studies and its look at the state."""
    end, looks = Supervisor._end_parent, Counter[str]()

    def end_late(self: Supervisor, plan: StudyPlan, *rest: Any) -> None:
        looks[plan.name] += 1
        if looks[plan.name] > 1:
            end(self, plan, *rest)

    monkeypatch.setattr(Supervisor, "_end_parent", end_late)
    state = run_sweep(write_sweep(trials=1, seeds=1), workers=1)
    assert set(looks.values()) == {2} and state.closed and not state.undelivered
    assert {run.info.status for run in runs()} == {"FINISHED"}


def test_tpe_and_the_median_pruner_settle_every_slot(
    workplace: Path, write_sweep: WriteSweep, own_workers: None
) -> None:
    search = {"optimizer.lr": {"low": 1e-6, "high": 1.0, "log": True}}
    path = write_sweep(sampler="tpe", pruner="median", trials=5, seeds=1, search=search, arms={"tanh": {}})
    state = run_sweep(path, workers=1)
    assert state.all_slots.done == 6 and not state.failures
    tried = [trial.params["optimizer.lr"] for trial in trials() if trial.user_attrs["phase"] == "search"]
    assert len(set(tried)) == 5


@pytest.mark.slow
def test_score_against_cost_on_two_seeds_with_three_workers(
    workplace: Path, write_sweep: WriteSweep, forked_workers: None
) -> None:
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

    table = pareto_table(load_sweep("tiny"), load_sweep_definition(path).search)
    assert sorted(table["trial"]) == sorted(trial.user_attrs["slot"] for trial in study.best_trials)
    assert table["trial"].iloc[0] == best.user_attrs["slot"]
    text = write_report("tiny", workplace / "report").with_suffix(".md").read_text()
    assert "**What does a better score cost?**" in text and "6 trials an arm and task, each on 2 seeds" in text


def test_a_second_parent_is_refused(workplace: Path, write_sweep: WriteSweep) -> None:
    FOLDER.mkdir(parents=True)
    first = FileLock(FOLDER / "lock")
    first.acquire()
    with pytest.raises(UserError, match="sweep 'tiny' is being run by another process"):
        run_sweep(write_sweep())
    assert [path.name for path in FOLDER.iterdir()] == ["lock"]


def test_an_unreadable_journal_is_refused_and_left_alone(workplace: Path, write_sweep: WriteSweep) -> None:
    path = write_sweep()
    keep(path)
    (FOLDER / "journal.log").write_bytes(b"not a journal\nat all\n")
    with pytest.raises(UserError, match=r"journal .*journal\.log is unreadable at line 1"):
        run_sweep(path)
    assert (FOLDER / "journal.log").read_bytes() == b"not a journal\nat all\n"


def test_workers_that_cannot_start_end_the_sweep_with_a_hint(
    workplace: Path, write_sweep: WriteSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    hurry(monkeypatch)
    monkeypatch.setenv("PYTHONPATH", str(workplace))
    (workplace / "optuna.py").write_text("raise ImportError('no optuna here')")  # what a worker imports first
    with pytest.raises(UserError, match=r"read .*workers/0\.log"):
        run_sweep(write_sweep(), workers=1, console=Console(quiet=True))
    assert "no optuna here" in (FOLDER / "workers" / "0.log").read_text()
