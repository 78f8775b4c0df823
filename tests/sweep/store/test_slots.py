"""Slots: each is run exactly once, whoever dies."""

import os
from pathlib import Path
from typing import Any

import optuna
import pytest
from forked import FORKED
from optuna.trial import FrozenTrial, TrialState

from rnnlab.sweep.store import slots
from rnnlab.sweep.store.journal import open_storage
from rnnlab.sweep.store.slots import best_trial, claim, claim_many, count_waiting, fill, latest, recover, settled

PLANNED = 12


@pytest.fixture
def study(tmp_path: Path) -> optuna.Study:
    return make_study(tmp_path, "s")


def make_study(folder: Path, name: str) -> optuna.Study:
    return optuna.create_study(storage=open_storage(folder), study_name=name, load_if_exists=True)


def make_studies(folder: Path, *names: str) -> list[optuna.Study]:
    storage = open_storage(folder)
    return [optuna.create_study(storage=storage, study_name=name) for name in names]


def fill_all(study: optuna.Study, phase: str = "search", count: int = PLANNED) -> None:
    fill(study, [{"x": float(slot)} for slot in range(count)], [{"phase": phase, "seed": 0}] * count)


def states(study: optuna.Study) -> list[TrialState]:
    return [trial.state for trial in study.get_trials()]


def claim_until_empty(folder: Path, results: Any, barrier: Any) -> None:
    study = make_study(folder, "s")
    barrier.wait()
    while claimed := claim_many([study], 2):
        for _, trial in claimed:
            results.put(trial.user_attrs["slot"])
            study.tell(trial, trial.suggest_float("x", 0, PLANNED))


@pytest.mark.slow
def test_processes_at_once_claim_every_slot_once(study: optuna.Study, tmp_path: Path) -> None:
    fill_all(study)
    results, barrier = FORKED.Queue(), FORKED.Barrier(3)
    workers = [FORKED.Process(target=claim_until_empty, args=(tmp_path, results, barrier)) for _ in range(3)]
    for worker in workers:
        worker.start()
    claimed = [results.get(timeout=60) for _ in range(PLANNED)]
    for worker in workers:
        worker.join()
        assert worker.exitcode == 0
    assert sorted(claimed) == list(range(PLANNED)) and results.empty()
    assert states(study) == [TrialState.COMPLETE] * PLANNED


def test_claim_invents_no_trial(study: optuna.Study) -> None:
    assert claim([study]) is None
    assert study.trials == []


def test_claim_takes_finals_first_and_then_task_by_task_and_slot_by_slot(tmp_path: Path) -> None:
    studies = [a, b, c, final] = make_studies(tmp_path, "t/a", "t/b", "u/a", "u/a/final")
    for each in (a, b, c):
        fill_all(each, count=2)
    fill_all(final, "final", count=1)
    order = []
    while (claimed := claim(studies)) is not None:
        order.append((claimed[0].study_name, claimed[1].user_attrs["slot"]))
    assert order == [("u/a/final", 0), *((name, k) for k in (0, 1) for name in ("t/a", "t/b")), ("u/a", 0), ("u/a", 1)]


def test_several_are_claimed_at_once_in_the_same_order(tmp_path: Path) -> None:
    a, b, final = make_studies(tmp_path, "t/a", "t/b", "t/a/final")
    for each in (a, b):
        fill_all(each, count=2)
    fill_all(final, "final", count=1)
    assert claim_many([a, b, final], 0) == [] and count_waiting([a, b, final]) == 5
    claims = [claim_many([a, b, final], most) for most in (3, 9, 9)]
    order = [[(study.study_name, trial.user_attrs["slot"]) for study, trial in claimed] for claimed in claims]
    assert order == [[("t/a/final", 0), ("t/a", 0), ("t/b", 0)], [("t/a", 1), ("t/b", 1)], []]
    assert all(trial.state == TrialState.RUNNING and "worker" in trial.user_attrs for trial in a.trials + b.trials)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.99])
def test_a_claim_that_is_cut_short_leaves_every_slot_waiting_or_running(
    study: optuna.Study, tmp_path: Path, share: float
) -> None:
    """Killed anywhere while it writes, a claim has put its name to all that it has taken, but for one at most."""
    fill_all(study)
    journal = tmp_path / "journal.log"
    before = journal.stat().st_size
    claim_many([study], 5)
    written = journal.stat().st_size - before
    os.truncate(journal, before + int(share * written))
    again = make_study(tmp_path, "s")
    again.set_user_attr("mended", True)  # whoever appends next cuts the torn line
    running = [trial for trial in again.trials if trial.state == TrialState.RUNNING]
    assert [trial.user_attrs["slot"] for trial in running] == list(range(len(running)))
    assert sum("worker" not in trial.user_attrs for trial in running) <= 1
    assert [trial.user_attrs["slot"] for _, trial in claim_many([again], PLANNED)] == [*range(len(running), PLANNED)]


def test_fill_twice_is_fill_once(study: optuna.Study) -> None:
    fill_all(study, count=5)
    fill_all(study)
    fill_all(study)
    assert [trial.user_attrs["slot"] for trial in study.trials] == list(range(PLANNED))


def test_interrupted_slot_comes_back_as_it_was(study: optuna.Study) -> None:
    fill_all(study, count=1)
    for attempt in range(5):  # stopping a sweep is nobody's fault, however often
        claimed = claim([study])
        assert claimed is not None
        trial = claimed[1]
        assert trial.suggest_float("x", 0, 1) == 0.0
        trial.report(0.5 - attempt, step=attempt)
        recover(study, lambda _: "interrupted")
        fill_all(study, count=1)
    (last,) = latest(study).values()
    assert last.state == TrialState.WAITING and last.params == {"x": 0.0}
    assert last.intermediate_values == {attempt: 0.5 - attempt for attempt in range(5)}
    noted = {"slot": 0, "crashes": 0, "shortages": 0, "phase": "search", "seed": 0}
    assert last.user_attrs == noted | {"tries": 5, "ticket": f"{study.study_name} 0 try 5"}
    assert states(study) == [TrialState.FAIL] * 5 + [TrialState.WAITING]


def test_a_proposed_point_survives_its_worker(study: optuna.Study) -> None:
    fill(study, [{}], [{"phase": "search", "seed": 0}])
    study.sampler = optuna.samplers.RandomSampler(seed=1)
    claimed = claim([study])
    assert claimed is not None
    proposed = claimed[1].suggest_float("x", 0, 1)
    recover(study, lambda _: "interrupted")
    fill(study, [{}], [{"phase": "search", "seed": 0}])
    study.sampler = optuna.samplers.RandomSampler(seed=2)
    claimed = claim([study])
    assert claimed is not None and claimed[1].suggest_float("x", 0, 1) == proposed


def test_a_slot_that_kills_its_workers_is_given_up_in_the_end(study: optuna.Study) -> None:
    fill_all(study, count=1)
    given_up: list[tuple[FrozenTrial, str]] = []

    def give_up(trial: FrozenTrial, reason: str) -> bool:
        given_up.append((trial, reason))
        return True

    while claim([study]) is not None:
        recover(study, lambda _: "killed", crashed=True, give_up=give_up)
        fill_all(study, count=1)
    assert states(study) == [TrialState.FAIL] * (1 + slots.ALLOWED_CRASHES)
    (last,) = latest(study).values()
    assert settled(last) and last.user_attrs["reason"] == "killed"
    assert [(trial.number, reason) for trial, reason in given_up] == [(last.number, "killed")]


def test_only_orphans_are_recovered(study: optuna.Study) -> None:
    fill_all(study, count=2)
    for _ in range(2):
        claim([study])
    recover(study, lambda trial: "gone" if trial.user_attrs["slot"] == 1 else None)
    assert states(study) == [TrialState.RUNNING, TrialState.FAIL]


def test_a_claim_without_a_name_is_an_orphan_after_a_while(
    study: optuna.Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_all(study, count=2)
    claim([study])
    study.ask()  # claims, and dies before it can put its name to it
    named, unnamed = study.trials
    assert not slots.unnamed_too_long(named) and not slots.unnamed_too_long(unnamed)
    monkeypatch.setattr(slots, "UNNAMED_SECONDS", -1.0)
    assert not slots.unnamed_too_long(named) and slots.unnamed_too_long(unnamed)


def test_best_is_the_lowest_completed(study: optuna.Study) -> None:
    assert best_trial(study.trials) is None
    fill_all(study, count=4)
    for slot, (value, state) in enumerate([(3, None), (1, None), (None, TrialState.FAIL), (1, None)]):
        claimed = claim([study])
        assert claimed is not None and claimed[1].user_attrs["slot"] == slot
        study.tell(claimed[1], value, state)
    best = best_trial(study.trials)
    assert best is not None and best.user_attrs["slot"] == 1


def test_of_score_and_cost_the_score_decides_and_then_the_cost(tmp_path: Path) -> None:
    study = optuna.create_study(storage=open_storage(tmp_path), directions=[optuna.study.StudyDirection.MINIMIZE] * 2)
    fill_all(study, count=4)
    for values in [(2.0, 1.0), (1.0, 9.0), (1.0, 5.0), (1.0, 5.0)]:
        claimed = claim([study])
        assert claimed is not None
        study.tell(claimed[1], values)
    best = best_trial(study.trials)
    assert best is not None and best.user_attrs["slot"] == 2
    assert best.number in {trial.number for trial in study.best_trials}
