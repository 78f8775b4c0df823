"""How far a sweep is, read from its journal."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from rnnlab.sweep.plan.outline import Outline, Phase, StudyKey
from rnnlab.sweep.store.slots import INTERRUPTED, best_trial, latest, settled, slot_name
from rnnlab.tracking.undelivered import UNDELIVERED

DONE = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True)
class Counts:
    """Slots of one phase of one study.

    Attributes:
        planned: how many there are; each of them ends up done or failed.
        done: completed or pruned.
        failed: given up on.
        running: being run now.
    """

    planned: int
    done: int
    failed: int
    running: int

    @property
    def open(self) -> int:
        return self.planned - self.done - self.failed

    def as_dict(self) -> dict[str, int]:
        """The numbers by name."""
        return {"planned": self.planned, "done": self.done, "failed": self.failed}

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.planned + other.planned,
            self.done + other.done,
            self.failed + other.failed,
            self.running + other.running,
        )


@dataclass(frozen=True)
class StudyState:
    """One arm on one task.

    Attributes:
        plan: which.
        search: slots of the search.
        final: slots on fresh seeds; none are planned once every search trial has failed.
        best: score of the best point so far.
        seconds: mean wall time of a run in its finished trials.
        failures: slot and reason of everything given up on.
        retries: slot and reason of every attempt that was lost, and whose slot was tried again.
        closed: whether its MLflow run has been ended, the last thing to happen to it.
        search_seeds: runs of each search trial; a final slot has one.
        hands: the worker of every slot that is running.
    """

    plan: StudyKey
    search: Counts
    final: Counts
    best: float | None
    seconds: float | None
    failures: tuple[str, ...]
    retries: tuple[str, ...]
    closed: bool
    search_seeds: int = 1
    hands: tuple[str, ...] = ()

    @property
    def all_slots(self) -> Counts:
        return self.search + self.final

    @property
    def open_runs(self) -> int:
        return self.search.open * self.search_seeds + self.final.open

    @property
    def word(self) -> str:
        """What is going on, in a word or two."""
        if self.search.open:
            return "searching" if self.search.running or self.search.done else "waiting"
        if not self.final.planned:
            return "all failed"
        return "retraining" if self.final.open else "done"


@dataclass(frozen=True)
class SweepState:
    """The whole sweep.

    Attributes:
        name: the sweep's name.
        studies: its studies, in plan order.
        stopped_by: number of the signal that ended this run of it early, if one did.
        undelivered: runs that are done and wait on disk for MLflow.
    """

    name: str
    studies: tuple[StudyState, ...]
    stopped_by: int | None = None
    undelivered: int = 0

    @property
    def all_slots(self) -> Counts:
        return total(study.all_slots for study in self.studies)

    @property
    def unit(self) -> str:
        """What a slot is called: a run, unless a search trial has several of them."""
        return "runs" if all(study.search_seeds == 1 for study in self.studies) else "trials"

    @property
    def started(self) -> bool:
        """Whether any run has been begun."""
        slots = self.all_slots
        return slots.open < slots.planned or slots.running > 0

    @property
    def complete(self) -> bool:
        return self.all_slots.open == 0

    @property
    def closed(self) -> bool:
        """Whether nothing at all is left to do."""
        return self.complete and all(study.closed for study in self.studies)

    @property
    def populations(self) -> list[int]:
        """How many slots each worker has in hand, which train together; the largest number first."""
        return sorted(Counter(worker for study in self.studies for worker in study.hands).values(), reverse=True)

    @property
    def failures(self) -> list[str]:
        return [failure for study in self.studies for failure in study.failures]

    @property
    def retries(self) -> list[str]:
        return [retry for study in self.studies for retry in study.retries]

    @property
    def exit_code(self) -> int:
        """0, what shells expect of a process ended by a signal, or that MLflow lacks runs that are done."""
        if self.stopped_by is not None:
            return 128 + self.stopped_by
        return UNDELIVERED if self.undelivered else 0

    def as_dict(self) -> dict[str, Any]:
        """The state as primitives: counts of the whole and of every study, and what failed."""
        studies = [
            {
                "task": study.plan.task,
                "arm": study.plan.arm,
                "state": study.word,
                "search": study.search.as_dict(),
                "final": study.final.as_dict(),
                "best": study.best,
            }
            for study in self.studies
        ]
        return {
            "name": self.name,
            "state": "complete" if self.complete else "stopped",
            "runs": self.all_slots.as_dict(),
            "undelivered": self.undelivered,
            "populations": self.populations,
            "studies": studies,
            "failures": self.failures,
            "retries": self.retries,
        }

    def seconds_left(self, workers: int) -> float | None:
        """Expected wall time to the end; None before the first trial is over."""
        known = [study.seconds for study in self.studies if study.seconds is not None]
        if not known:
            return None
        typical = fmean(known)
        work = sum(study.open_runs * (study.seconds or typical) for study in self.studies)
        return work / max(workers, self.all_slots.running)  # those that train together take as long as they do together


def total(counts: Iterable[Counts]) -> Counts:
    """Add up slots."""
    return sum(counts, Counts(0, 0, 0, 0))


def read_state(outline: Outline, storage: optuna.storages.BaseStorage) -> SweepState:
    """Count a sweep's slots.

    Args:
        outline: the sweep's.
        storage: its journal; studies that do not exist yet count as waiting.
    """
    names = optuna.get_all_study_names(storage)
    return count_slots(outline, {name: optuna.load_study(study_name=name, storage=storage) for name in names})


def count_slots(outline: Outline, studies: Mapping[str, optuna.Study]) -> SweepState:
    """The same of studies that are open already, by name; to open some hundred takes longer than to read them."""

    def study(plan: StudyKey, phase: Phase) -> optuna.Study | None:
        return studies.get(plan.study_name(phase))

    counted = [_study_state(outline, plan, study(plan, "search"), study(plan, "final")) for plan in outline.studies]
    return SweepState(outline.name, tuple(counted))


def _study_state(
    outline: Outline, plan: StudyKey, searching: optuna.Study | None, retraining: optuna.Study | None
) -> StudyState:
    search = latest(searching) if searching else {}
    final = latest(retraining) if retraining else {}
    best = best_trial(search.values())
    searched = _count(outline.search_trials, search)
    every = [*search.values(), *final.values()]
    runs = {"search": outline.search_seeds, "final": 1}
    seconds = [_seconds(trial) / runs[trial.user_attrs["phase"]] for trial in every if trial.state in DONE]
    return StudyState(
        plan=plan,
        search=searched,
        final=_count(outline.seeds if best or searched.open else 0, final),
        best=best.user_attrs.get("score") if best else None,
        seconds=fmean(seconds) if seconds else None,
        failures=tuple(_lost(plan, trial) for trial in every if trial.state == TrialState.FAIL and settled(trial)),
        retries=tuple(
            _lost(plan, trial)
            for study in (searching, retraining)
            if study is not None
            for trial in study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
            if not settled(trial) and trial.user_attrs["reason"] != INTERRUPTED
        ),
        closed=searching is not None and searching.user_attrs.get("closed", False),
        search_seeds=outline.search_seeds,
        hands=tuple(
            t.user_attrs["worker"] for t in every if t.state == TrialState.RUNNING and "worker" in t.user_attrs
        ),
    )


def _lost(plan: StudyKey, trial: FrozenTrial) -> str:
    return f"{slot_name(plan, trial)}: {trial.user_attrs['reason']}"


def _count(planned: int, trials: dict[int, FrozenTrial]) -> Counts:
    states = [trial.state for trial in trials.values()]
    return Counts(
        planned=planned,
        done=sum(state in DONE for state in states),
        failed=sum(trial.state == TrialState.FAIL and settled(trial) for trial in trials.values()),
        running=states.count(TrialState.RUNNING),
    )


def _seconds(trial: FrozenTrial) -> float:
    if trial.datetime_start is None or trial.datetime_complete is None:
        return 0.0
    return (trial.datetime_complete - trial.datetime_start).total_seconds()
