"""The parent of a sweep, started again at awkward moments."""

import shutil
from pathlib import Path
from typing import Any

import optuna
import pytest

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.store.home import FolderHome
from rnnlab.sweep.store.journal import open_storage
from rnnlab.sweep.store.slots import claim, latest
from rnnlab.sweep.store.state import read_state
from rnnlab.sweep.work.supervisor import Supervisor
from rnnlab.tracking.store import connect, experiment_id, tracking_uri
from rnnlab.tracking.writer import Writer


class Parent(Supervisor):
    """A parent without workers: its slots are settled by hand."""

    def __init__(self, folder: Path, data: dict[str, Any]) -> None:
        definition, home = SweepDefinition.parse(data), FolderHome(folder)
        home.keep("", definition.outline, "tiny.yaml")
        super().__init__(definition, home, open_storage(folder), tracking_uri(), Origin("tiny.yaml"))
        self.open_studies()
        self._plan_slots()

    def settle(self, arm: str, values: list[float | None]) -> None:
        """Run the waiting slots of an arm, whose objective is given; None fails."""
        for value in values:
            claimed = claim([self.searches[f"adding-5/{arm}"], self.finals[f"adding-5/{arm}"]])
            assert claimed is not None
            study, trial = claimed
            trial.suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)
            trial.set_user_attr("reason", "it broke")
            study.tell(trial, value, optuna.trial.TrialState.FAIL if value is None else None)
            self._plan_slots()

    def parents(self) -> dict[str, str]:
        """Status of the MLflow run of every arm, once everything that is on disk is delivered."""
        for entry in self.outbox.entries():
            Writer(self.uri).deliver(entry)
        found = connect(self.uri).search_runs([experiment_id(self.uri, "tiny")])
        return {run.data.tags["rnnlab.arm"]: run.info.status for run in found if "rnnlab.arm" in run.data.tags}


def test_an_arm_that_is_done_stays_done(workplace: Path, tiny: dict[str, Any]) -> None:
    parent = Parent(workplace, tiny)
    assert parent.parents() == {"tanh": "RUNNING", "lstm": "RUNNING"}
    parent.settle("tanh", [3.0, 1.0, 2.0, 0.0, 0.0])
    assert parent.parents() == {"tanh": "FINISHED", "lstm": "RUNNING"}
    assert Parent(workplace, tiny).parents() == {"tanh": "FINISHED", "lstm": "RUNNING"}


def test_another_tracking_store_is_refused_in_the_middle(
    workplace: Path, tiny: dict[str, Any], empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Parent(workplace, tiny).settle("tanh", [3.0])
    shutil.copy(empty_store, workplace / "other.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workplace / 'other.db'}")
    with pytest.raises(UserError, match=r"other.db does not hold sweep 'tiny'"):
        Parent(workplace, tiny)


def test_finals_wait_for_the_search_and_take_its_best_point(workplace: Path, tiny: dict[str, Any]) -> None:
    parent = Parent(workplace, tiny)
    final = parent.finals["adding-5/tanh"]
    parent.settle("tanh", [3.0, None])
    assert final.trials == []
    parent.settle("tanh", [2.0])
    search = parent.searches["adding-5/tanh"].trials
    assert [trial.system_attrs["fixed_params"] for trial in final.trials] == [search[2].params] * 2
    assert [trial.user_attrs["seed"] for trial in final.trials] == [1000, 1001]
    assert len(Parent(workplace, tiny).finals["adding-5/tanh"].trials) == 2


def test_an_arm_whose_search_fails_has_no_finals_and_says_so(workplace: Path, tiny: dict[str, Any]) -> None:
    parent = Parent(workplace, tiny)
    parent.settle("tanh", [None, None, None])
    tanh, lstm = read_state(parent.outline, parent.storage).studies
    assert (tanh.word, tanh.final.planned, tanh.search.failed) == ("all failed", 0, 3)
    assert tanh.failures[0] == "adding-5/tanh search 0: it broke"
    assert lstm.word == "waiting" and not read_state(parent.outline, parent.storage).complete
    parent.settle("lstm", [1.0, 1.0, 1.0, 1.0, None])
    state = read_state(parent.outline, parent.storage)
    assert state.complete and state.closed and (state.all_slots.done, state.all_slots.failed) == (4, 4)
    assert set(parent.parents().values()) == {"FINISHED"}


def test_a_slot_whose_result_was_damaged_on_disk_is_run_again(workplace: Path, tiny: dict[str, Any]) -> None:
    parent = Parent(workplace, tiny)
    parent.settle("tanh", [3.0, 1.0, 2.0, 0.5, 0.5])
    folder = parent.outbox.folder / "runs" / "adding-5" / "tanh"
    (folder / "search-1.damaged-1").mkdir(parents=True)
    (folder / "study").rename(folder / "study.damaged-1")
    for _ in range(2):  # looking twice is looking once
        parent._renew_lost()
        parent._plan_slots()
    trials = latest(parent.searches["adding-5/tanh"])
    assert [trials[slot].state.name for slot in range(3)] == ["COMPLETE", "WAITING", "COMPLETE"]
    assert (folder / "study" / "ended.json").exists() == parent.searches["adding-5/tanh"].user_attrs["closed"] is False
    parent.settle("tanh", [1.0])
    assert (folder / "study" / "ended.json").exists()
    state = read_state(parent.outline, parent.storage).studies[0]
    assert (state.search.done, state.final.done, state.closed, state.best) == (3, 2, True, None)
