"""Everything of Optuna's that has no public name, and what slots need of it.

Optuna's public interface invents a trial at every question, where slots claim one that is planned, hand it on, and take
it back from a worker that is gone. Should a later version lack one of the names, one sentence says so.
"""

import importlib
from typing import Any

import optuna
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from rnnlab.common.errors import UserError

TESTED = "5.0.0"
"""A version that is known to have the names."""


def trial_id(trial: Trial | FrozenTrial) -> int:
    """The number of a trial in its storage, whatever study it belongs to."""
    return _private(trial, "_trial_id")


def storage_of(study: optuna.Study) -> BaseStorage:
    """Where a study is kept."""
    return _private(study, "_storage")


def with_cache(backend: Any) -> BaseStorage:
    """Optuna's cache in front of a database, which asks it for a finished trial only once.

    Args:
        backend: an `RDBStorage`, or what stands in front of one.
    """
    try:
        module = importlib.import_module("optuna.storages._cached_storage")
    except ImportError:
        raise _missing("optuna.storages._cached_storage") from None
    return _private(module, "_CachedStorage")(backend)


def backend_of(storage: BaseStorage) -> Any:
    """What a journal or a cache stands in front of; None for a storage in memory."""
    return None if isinstance(storage, InMemoryStorage) else _private(storage, "_backend")


def study_id(study: optuna.Study) -> int:
    """The number of a study in its storage."""
    return _private(study, "_study_id")


def remember(study: optuna.Study, trial: Trial) -> None:
    """Have the cache know a trial that it has not read with all others: it refuses parameters of any other."""
    storage = storage_of(study)
    storage.get_study_directions(study_id(study))  # the cache knows the study itself from here on
    _private(storage, "_add_trials_to_cache")(study_id(study), [_private(trial, "_cached_frozen_trial")])


def running_trial(study: optuna.Study, trial: Trial | FrozenTrial) -> Trial:
    """A trial that has been claimed, as one that can be told what came of it."""
    return Trial(study, trial_id(trial))


def reported_values(trial: Trial) -> dict[int, float]:
    """What a trial has reported to its pruner by step, also before it was interrupted."""
    return storage_of(trial.study).get_trial(trial_id(trial)).intermediate_values


def note(study: optuna.Study, trial: Trial | FrozenTrial, key: str, value: Any) -> None:
    """Set a user attribute of any trial.

    Raises:
        UpdateFinishedTrialError: if the trial has come to an end.
    """
    storage_of(study).set_trial_user_attr(trial_id(trial), key, value)


def set_running(study: optuna.Study, trial: FrozenTrial) -> bool:
    """Claim a waiting trial; False where another process was faster.

    Raises:
        UpdateFinishedTrialError: if the trial has come to an end.
    """
    return storage_of(study).set_trial_state_values(trial_id(trial), state=TrialState.RUNNING)


def set_failed(study: optuna.Study, trial: Trial | FrozenTrial) -> None:
    """End a trial without a value.

    Raises:
        UpdateFinishedTrialError: if the trial has come to an end.
    """
    storage_of(study).set_trial_state_values(trial_id(trial), state=TrialState.FAIL)


def _private(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name)
    except AttributeError:
        where = getattr(owner, "__name__", type(owner).__name__)
        raise _missing(f"{where}.{name}") from None


def _missing(name: str) -> UserError:
    return UserError(
        f"Optuna {optuna.__version__} lacks {name}, which sweeps need: install a version that has it, such as {TESTED}"
    )
