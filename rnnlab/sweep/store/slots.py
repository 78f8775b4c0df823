"""Planned slots: each is run exactly once, however often its workers are killed.

A study has a fixed number of slots, enqueued as waiting trials before anything starts. A worker claims one; if it
dies or is stopped, the trial is told to have failed and the same slot is enqueued again with the same point. So a
slot may take several Optuna trials, of which the last one counts. Each carries a ticket, its slot and the number of the
try, by which a database that several processes write to refuses a second trial for the same try.
"""

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial
from sqlalchemy import exc

from rnnlab.sweep.plan.outline import StudyKey
from rnnlab.sweep.store.journal import Journal
from rnnlab.sweep.store.optuna_private import (
    backend_of,
    note,
    remember,
    running_trial,
    set_failed,
    set_running,
    storage_of,
    study_id,
)
from rnnlab.sweep.store.retrying import Claims

WAITING = TrialState.WAITING
INTERRUPTED = "interrupted"
"""Reason of a trial that was cut short by no fault of its own."""
ALLOWED_CRASHES = 5
"""How often a slot whose worker died is tried again.

Whoever kills a worker (the kernel short of memory, a scheduler, a colleague) picks it for its size or its age, not for
what it is running, so one death says nothing about the slot; a trial that really is fatal costs six workers in the end.
"""
ALLOWED_SHORTAGES = 1
"""How often a trial that itself ran out of memory is tried again: what it asks for is its own doing."""
Cost = Literal["crashes", "shortages"]
UNNAMED_SECONDS = 10.0
"""A claimed trial without its worker's name is taken for an orphan after this long: naming takes milliseconds."""


def worker_name(pid: int | None = None) -> str:
    """Name of a worker process of this machine, this one by default."""
    return f"{socket.gethostname()}:{os.getpid() if pid is None else pid}"


def slot_name(plan: StudyKey, trial: Trial | FrozenTrial) -> str:
    """How people call the slot of a trial: task/arm, phase, number."""
    noted = trial.user_attrs
    return f"{plan.name} {noted['phase']} {noted['slot']}"


def latest(study: optuna.Study) -> dict[int, FrozenTrial]:
    """The trial that counts for each slot: the last one."""
    return {trial.user_attrs["slot"]: trial for trial in study.get_trials(deepcopy=False)}


def settled(trial: FrozenTrial) -> bool:
    """Whether a slot's trial is its final word."""
    return trial.state.is_finished() and not trial.user_attrs.get("retry", False)


def fill(study: optuna.Study, points: Sequence[Mapping[str, Any]], attributes: Sequence[Mapping[str, Any]]) -> None:
    """Enqueue every slot that has no trial yet, and again every slot whose trial was cut short.

    Calling it twice is calling it once, so a restart needs no memory of how far the last call came.

    Args:
        study: where.
        points: what each slot is to try; an empty point is left to the sampler.
        attributes: what else to note with each slot.
    """
    trials = latest(study)
    for slot, (point, noted) in enumerate(zip(points, attributes, strict=True)):
        if slot not in trials:
            first = {"slot": slot, "tries": 0, "crashes": 0, "shortages": 0, **noted}
            _enqueue(study, create_trial(state=WAITING, user_attrs=first, system_attrs={"fixed_params": point}))
    refill(study)


def refill(study: optuna.Study) -> None:
    """Enqueue every slot again whose trial was cut short."""
    for trial in latest(study).values():
        if trial.state == TrialState.FAIL and not settled(trial):
            _enqueue_again(study, trial)


def claim(studies: Iterable[optuna.Study]) -> tuple[optuna.Study, Trial] | None:
    """Take the next waiting trial for this process; see `claim_many`."""
    return next(iter(claim_many(studies, 1)), None)


def claim_many(studies: Iterable[optuna.Study], most: int) -> list[tuple[optuna.Study, Trial]]:
    """Take the next waiting trials for this process, in one transaction.

    Final slots come first, since they complete an arm; then task by task, so that what is stopped early has compared
    something, and slot by slot through its arms, which so advance together. `study.ask` would invent a new trial where
    none is waiting.

    Args:
        studies: all of one storage.
        most: how many at most.

    Returns:
        The running trials, each with its study; none where nothing is waiting.
    """
    studies = list(studies)
    if not studies or most < 1:
        return []
    backend = backend_of(storage_of(studies[0]))
    if isinstance(backend, Claims):
        known = {study_id(study): study for study in studies}
        places = dict(zip(known, _places(studies), strict=True))
        numbers = backend.claim(places, most, worker_name())
        claimed = [(known[study], Trial(known[study], number)) for study, number in numbers]
        for study, trial in claimed:
            remember(study, trial)
    else:
        together = backend.together() if isinstance(backend, Journal) else contextlib.nullcontext()
        with together:
            chosen = _next_waiting(studies)[:most]
            for study, trial in chosen:
                set_running(study, trial)
                note(study, trial, "worker", worker_name())
        claimed = [(study, running_trial(study, trial)) for study, trial in chosen]
    return claimed


def _next_waiting(studies: Sequence[optuna.Study]) -> list[tuple[optuna.Study, FrozenTrial]]:
    """Waiting trials in the order in which they are to be run."""
    waiting = [
        (trial.user_attrs["phase"] != "final", place, trial.user_attrs["slot"], position, study, trial)
        for position, (place, study) in enumerate(zip(_places(studies), studies, strict=True))
        for trial in study.get_trials(deepcopy=False, states=(WAITING,))
    ]
    return [(study, trial) for *_, study, trial in sorted(waiting, key=lambda item: item[:4])]


def _places(studies: Sequence[optuna.Study]) -> list[int]:
    """The place of each study's task among all tasks."""
    places: dict[str, int] = {}
    return [places.setdefault(study.study_name.split("/")[0], len(places)) for study in studies]


def count_waiting(studies: Iterable[optuna.Study]) -> int:
    """How many slots of one storage nobody has taken up."""
    studies = list(studies)
    backend = backend_of(storage_of(studies[0])) if studies else None
    if isinstance(backend, Claims):
        return backend.count_waiting([study_id(study) for study in studies])
    return sum(len(study.get_trials(deepcopy=False, states=(WAITING,))) for study in studies)


def recover(
    study: optuna.Study,
    orphaned: Callable[[FrozenTrial], str | None],
    crashed: bool = False,
    give_up: Callable[[FrozenTrial, str], bool] | None = None,
) -> list[FrozenTrial]:
    """Tell the trials of workers that are gone to have failed, so that `fill` enqueues their slots again.

    Args:
        study: where to look.
        orphaned: why a running trial will never end, or None where it may.
        crashed: whether the worker died by itself, which a slot may suffer only so often.
        give_up: called with trial and reason before a slot is settled as failed, so that a kill in between repeats it;
            says whether the run has really failed.

    Returns:
        The trials that were told so, as they were before.
    """
    recovered = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        reason = orphaned(trial)
        if reason is None:
            continue
        retry = not crashed or trial.user_attrs["crashes"] < ALLOWED_CRASHES
        if not retry and give_up is not None:
            retry = not give_up(trial, reason)
        with contextlib.suppress(UpdateFinishedTrialError):  # it came to an end after all, or another was faster
            fail(study, trial, reason, retry=retry, cost="crashes" if crashed else None)
            recovered.append(trial)
    return recovered


def fail(
    study: optuna.Study, trial: Trial | FrozenTrial, reason: str, *, retry: bool, cost: Cost | None = None
) -> None:
    """Tell a trial to have failed.

    Args:
        study: its study.
        trial: which.
        reason: why, in words.
        retry: whether its slot is to be enqueued again.
        cost: what the slot may suffer only so often, if it was that.

    Raises:
        UpdateFinishedTrialError: if it has come to an end already.
    """
    for key, value in {"reason": reason, "retry": retry, "cost": cost}.items():
        note(study, trial, key, value)
    set_failed(study, trial)


def renew(study: optuna.Study, slot: int) -> None:
    """Enqueue a settled slot once more, because what came of it is lost; the newest trial counts."""
    trial = latest(study)[slot]
    if settled(trial):
        _enqueue_again(study, trial)


def may_run_short(noted: Mapping[str, Any]) -> bool:
    """Whether a slot with these attributes is tried again after it ran out of memory."""
    return noted["shortages"] < ALLOWED_SHORTAGES


def unnamed_too_long(trial: FrozenTrial) -> bool:
    """Whether a running trial was claimed by a process that died before it could put its name to it."""
    if "worker" in trial.user_attrs or trial.datetime_start is None:
        return False
    return (datetime.now() - trial.datetime_start).total_seconds() > UNNAMED_SECONDS


def best_trial(trials: Iterable[FrozenTrial]) -> FrozenTrial | None:
    """The completed trial with the lowest objective, of equals the cheapest, then the first; None without any.

    Of several objectives the first one decides, so that with score and cost it is the best end of the Pareto front.
    """
    completed = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    return min(completed, key=lambda trial: (trial.values, trial.user_attrs["slot"])) if completed else None


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueue a trial's slot with the point it already has, and what it has reported so far."""
    noted = trial.user_attrs
    kept = {key: noted[key] for key in noted if key not in ("worker", "reason", "retry", "cost", "score")}
    kept["tries"] += 1
    if noted.get("cost"):
        kept[noted["cost"]] += 1
    _enqueue(
        study,
        create_trial(
            state=WAITING,
            params=trial.params,
            distributions=trial.distributions,
            user_attrs=kept,
            system_attrs={"fixed_params": {**trial.system_attrs.get("fixed_params", {}), **trial.params}},
            intermediate_values=trial.intermediate_values,
        ),
    )


def _enqueue(study: optuna.Study, trial: FrozenTrial) -> None:
    """Add a waiting trial, unless another process has enqueued this try of its slot already."""
    noted = trial.user_attrs
    ticket = f"{study.study_name} {noted['slot']} try {noted['tries']}"
    trial.set_user_attr("ticket", ticket)
    with contextlib.suppress(exc.IntegrityError):
        study.add_trial(trial)
