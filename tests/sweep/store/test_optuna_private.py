"""Where Optuna lacks a private name, one sentence says so."""

import sys

import optuna
import pytest

from rnnlab.common.errors import UserError
from rnnlab.sweep.store import optuna_private
from rnnlab.sweep.store.slots import claim, fill


def test_a_study_that_hides_its_storage_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    study = optuna.create_study()
    fill(study, [{}], [{"phase": "search"}])
    vars(study)["storage"] = vars(study).pop("_storage")
    waiting = optuna.trial.create_trial(state=optuna.trial.TrialState.WAITING)
    with pytest.raises(UserError, match=r"lacks Study\._storage, which sweeps need: install a version that has it"):
        optuna_private.set_running(study, waiting)


def test_a_trial_that_hides_its_number_is_one_sentence() -> None:
    study = optuna.create_study()
    fill(study, [{}], [{"phase": "search"}])
    claimed = claim([study])
    assert claimed is not None
    del vars(claimed[1])["_trial_id"]
    with pytest.raises(UserError, match=r"lacks Trial\._trial_id"):
        optuna_private.set_failed(*claimed)


@pytest.mark.parametrize("missing", ["module", "class"])
def test_a_cache_of_another_name_is_one_sentence(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    name = "optuna.storages._cached_storage"
    if missing == "module":
        monkeypatch.setitem(sys.modules, name, None)
    else:
        monkeypatch.delattr(f"{name}._CachedStorage")
    with pytest.raises(UserError, match=r"lacks optuna\.storages\._cached_storage.*such as 5\."):
        optuna_private.with_cache(None)


def test_the_version_named_is_one_that_has_the_names() -> None:
    """The tests run on it: were it another, they would have to be run on that one first."""
    assert optuna.__version__.startswith(optuna_private.TESTED.rpartition(".")[0])
