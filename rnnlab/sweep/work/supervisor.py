"""The parent process of a sweep: plans, watches, recovers; it trains nothing itself."""

import errno
import math
import os
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.plan.samplers import objectives
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.show.display import Display
from rnnlab.sweep.show.mlflow_page import check_store, keep_plan, open_overview
from rnnlab.sweep.store.heartbeat import LossReason
from rnnlab.sweep.store.home import DEFINITION, Home
from rnnlab.sweep.store.optuna_private import running_trial
from rnnlab.sweep.store.slots import INTERRUPTED, best_trial, fill, latest, recover, renew, settled, slot_name
from rnnlab.sweep.store.state import SweepState, count_slots
from rnnlab.sweep.work.pool import EndedWorker, Pool
from rnnlab.sweep.work.trial import Job, give_up, outbox
from rnnlab.tracking.courier import Courier
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.writer import start_parent
from rnnlab.training.result import Curve

POLL_SECONDS = 0.5
LOOKING_SHARE, LONGEST_PAUSE = 0.05, 10.0
"""Of the time of one processor, what looking after thousands of slots may take; and seconds between two looks."""
STUDY = "study"
"""Entry of a study's own run in the outbox, beside those of its slots."""


class Supervisor:
    """Sees a sweep through to its end: `open_studies` once, then `run`.

    Args:
        definition: the sweep.
        home: its home; no worker that this machine starts may be alive yet.
        storage: opened from there.
        uri: MLflow tracking URI of a prepared store.
        origin: the definition's file, as the user named it.
    """

    def __init__(
        self, definition: SweepDefinition, home: Home, storage: optuna.storages.BaseStorage, uri: str, origin: Origin
    ) -> None:
        self.definition, self.home, self.storage, self.uri, self.origin = definition, home, storage, uri, origin
        self.outline, self.plans = definition.outline, definition.studies
        self.folder, self.outbox = home.folder, outbox(home.folder)
        self.searches: dict[str, optuna.Study] = {}
        self.finals: dict[str, optuna.Study] = {}
        self.losses_in_a_row = 0
        self.settled_slots = -1

    @cached_property
    def _points(self) -> dict[str, Sequence[Mapping[str, Any]]]:
        """What every slot of each search is to try."""
        return {plan.name: self.definition.planned_points(plan) for plan in self.plans}

    def open_studies(self) -> None:
        """Open the studies, take back what an earlier start left running, and give every study its MLflow run.

        Raises:
            UserError: if the tracking store is not the one that the sweep was started with.
        """
        searched = objectives(self.definition.sampler)
        self.searches = {plan.name: self._open(plan.study_name("search"), searched) for plan in self.plans}
        self.finals = {plan.name: self._open(plan.study_name("final")) for plan in self.plans}
        check_store(self.uri, self.definition.name, [*self.searches.values(), *self.finals.values()])
        self._recover_orphans(alone=True)
        open_overview(self.uri, self.definition, self.folder / DEFINITION)
        self._reopen_grown()
        for plan in self.plans:
            self._prepare_parent(plan)

    def run(
        self, pool: Pool, display: Display, caught: list[int], still_owned: Callable[[], None] = lambda: None
    ) -> SweepState:
        """Keep the workers going until every slot is settled and delivered, or a signal comes.

        Args:
            pool: starts the workers.
            display: shows how far it is.
            caught: signals that came.
            still_owned: raises where another supervisor has taken the sweep over.
        """
        completed = problem = None
        with Courier(self.outbox, self.uri) as courier:
            try:
                while True:
                    still_owned()
                    began = time.thread_time()
                    state = self._look_after(pool, display)
                    looked = time.thread_time() - began
                    if courier.problem != problem:
                        problem = courier.problem
                        display.say(f"MLflow: {problem or 'answers again'}")
                    # Closed, not only complete: the last slot may be settled after the look that ends its study.
                    completed = (completed or time.monotonic()) if state.closed else None
                    if caught or (completed and courier.is_done(since=completed)):
                        break
                    if not state.complete:
                        pool.start()
                    _pause(min(LONGEST_PAUSE, looked / LOOKING_SHARE), caught)
            finally:
                self._stop(pool, display, caught)
        state = self._read_state()
        display.show(state)
        if state.complete:
            shutil.rmtree(self.folder / "slots", ignore_errors=True)
            if not state.undelivered:
                self.outbox.clear()
                return state
        return replace(state, stopped_by=caught[0]) if caught else state

    def _look_after(self, pool: Pool, display: Display) -> SweepState:
        """Take back what was lost, plan what comes next, and show how far it is."""
        for ended in pool.collect_ended():
            self._replace_worker(ended, display)
        self._recover_orphans()
        self._renew_lost()
        self._plan_slots()
        state = self._read_state()
        self._note_progress(state, pool)
        display.show(state)
        return state

    def _read_state(self) -> SweepState:
        studies = {study.study_name: study for study in (*self.searches.values(), *self.finals.values())}
        return replace(count_slots(self.outline, studies), undelivered=self.outbox.undelivered())

    def _open(self, name: str, objectives: int = 1) -> optuna.Study:
        # The parent proposes a point only for a slot that lost its workers before they could.
        sampler = optuna.samplers.RandomSampler(seed=self.definition.seed)
        return optuna.create_study(
            study_name=name,
            storage=self.storage,
            sampler=sampler,
            directions=[StudyDirection.MINIMIZE] * objectives,
            load_if_exists=True,
        )

    def _reopen_grown(self) -> None:
        """Have a study that was complete ended anew, now that more is planned in it."""
        for study in self._read_state().studies:
            if study.closed and study.all_slots.open:
                name = study.plan.name
                self.outbox.entry(f"{name}/{STUDY}").discard()  # first: a kill in between repeats this
                self.searches[name].set_user_attr("closed", False)

    def _prepare_parent(self, plan: StudyPlan) -> None:
        """Give a study its MLflow run, which it keeps over restarts, and tell its workers where it came from."""
        search, final = self.searches[plan.name], self.finals[plan.name]
        for study in (search, final):
            _note(study, self.origin.as_attributes())
        if search.user_attrs.get("closed"):
            return
        if "id" not in search.user_attrs:
            search.set_user_attr("id", uuid.uuid4().hex)
        tags = {
            "rnnlab.kind": "study",
            "rnnlab.sweep": self.definition.name,
            "rnnlab.task": plan.task,
            "rnnlab.arm": plan.arm,
            "rnnlab.study": search.user_attrs["id"],
        }
        parent = start_parent(self.uri, self.definition.name, plan.name, tags, self.definition.question)
        noted = {"parent_run": parent, "definition": self.outline.hash}
        if any(final.user_attrs.get(key) != value for key, value in noted.items()):
            keep_plan(self.uri, parent, self.folder / DEFINITION, self.home.outline())
        for study in (search, final):  # last the one that is looked at above
            _note(study, noted)

    def _plan_slots(self) -> None:
        """Enqueue what has to be run: search slots, slots cut short, and final slots where the search is over."""
        for plan in self.plans:
            search, final = self.searches[plan.name], self.finals[plan.name]
            points = self._points[plan.name]
            fill(search, points, [{"phase": "search", "seed": self.definition.seed}] * len(points))
            trials = latest(search).values()
            if not all(settled(trial) for trial in trials):
                continue
            best = best_trial(trials)
            if best is not None:
                seeds = self.definition.final_seeds()
                fill(final, [best.params] * len(seeds), [{"phase": "final", "seed": seed} for seed in seeds])
            if not search.user_attrs.get("closed") and all(settled(trial) for trial in latest(final).values()):
                self._end_parent(plan, search, _outcome(best, list(latest(final).values())))

    def _end_parent(self, plan: StudyPlan, search: optuna.Study, outcome: dict[str, float]) -> None:
        """Put what came of a study on its parent run, for the dashboard's list."""
        numbers = {name: Curve([0], [value]) for name, value in outcome.items() if math.isfinite(value)}
        run = {"experiment": self.definition.name, "name": plan.name, "run_id": search.user_attrs["parent_run"]}
        state = RunState(**run, identity={}, tags={}, params={}, curves=numbers)
        self.outbox.entry(f"{plan.task}/{plan.arm}/{STUDY}").end(state, "FINISHED", "finished")
        search.set_user_attr("closed", True)

    def _renew_lost(self) -> None:
        """Have everything done again whose entry in the outbox was damaged before MLflow had it."""
        for key in self.outbox.lost():
            task, arm, run, *_ = key.split("/")
            if run == STUDY:
                self.searches[f"{task}/{arm}"].set_user_attr("closed", False)
                continue
            phase, _, slot = run.partition("-")
            renew((self.searches if phase == "search" else self.finals)[f"{task}/{arm}"], int(slot))

    def _recover_orphans(self, alone: bool = False) -> None:
        """Take back the trials whose worker is gone; `alone` while no worker of this machine is alive."""
        # Silence of a worker elsewhere counts as a crash: nobody knows what the trial has done to its machine.
        self._recover(self.home.orphans(alone), crashed=self.home.shared)

    def _replace_worker(self, ended: EndedWorker, display: Display) -> None:
        """Take back the trial of a worker that ended unasked; a slot that costs too many workers is given up on."""
        self.losses_in_a_row += 1

        def orphaned(trial: FrozenTrial) -> str | None:
            return ended.reason if trial.user_attrs.get("worker") == ended.name else None

        lost = self._recover(orphaned, ended.crashed)
        display.say(f"worker lost{' in ' + ', '.join(lost) if lost else ''}: {ended.reason}")
        if ended.no_room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _recover(self, orphaned: LossReason, crashed: bool) -> list[str]:
        """Take trials back, and name their slots."""

        def fail_run(plan: StudyPlan, study: optuna.Study, trial: FrozenTrial, reason: str) -> bool:
            return give_up(Job(self.definition, plan, study, running_trial(study, trial), self.folder), reason)

        names = []
        for plan in self.plans:
            for study in (self.searches[plan.name], self.finals[plan.name]):
                trials = recover(study, orphaned, crashed, partial(fail_run, plan, study))
                names += [slot_name(plan, trial) for trial in trials]
        return names

    def _note_progress(self, state: SweepState, pool: Pool) -> None:
        """Give up where workers die faster than slots are settled: nothing here will mend that."""
        settled_slots = state.all_slots.planned - state.all_slots.open
        if settled_slots != self.settled_slots:
            self.settled_slots, self.losses_in_a_row = settled_slots, 0
        if self.losses_in_a_row > 2 * pool.size + 1:
            raise UserError(
                f"the workers of sweep '{self.definition.name}' die without finishing anything: read "
                f"{pool.log(0)}, mend the cause, and start the sweep again"
            )

    def _stop(self, pool: Pool, display: Display, caught: list[int]) -> None:
        """Tell the workers to stop and wait for them; a second signal kills them."""
        if caught:
            display.say("stopping: the workers save their checkpoints; press Ctrl-C again to kill them")
        pool.stop()
        while not pool.empty:
            if len(caught) > 1:
                pool.stop(signal.SIGKILL)
            time.sleep(0.05)
        ended = {worker.name for worker in pool.collect_ended()}
        self._recover(lambda trial: INTERRUPTED if trial.user_attrs.get("worker") in ended else None, crashed=False)
        self._recover_orphans(alone=True)
        self._plan_slots()


def _pause(seconds: float, caught: list[int]) -> None:
    """Wait so long, or until a signal comes; a poll at least."""
    until = time.monotonic() + seconds
    time.sleep(POLL_SECONDS)
    while not caught and time.monotonic() < until:
        time.sleep(POLL_SECONDS)


def _note(study: optuna.Study, attributes: Mapping[str, Any]) -> None:
    """Note what a study does not say yet: the same again would make its journal longer at every start."""
    for key, value in attributes.items():
        if key not in study.user_attrs or study.user_attrs[key] != value:
            study.set_user_attr(key, value)


def _outcome(best: FrozenTrial | None, final: list[FrozenTrial]) -> dict[str, float]:
    """Tuned point and mean score on fresh seeds, and how many of the fresh runs have no score."""
    point = best.params if best else {}
    tuned = {f"tuned/{name}": float(value) for name, value in point.items() if isinstance(value, int | float)}
    scores = [trial.user_attrs["score"] for trial in final if "score" in trial.user_attrs]
    return tuned | {
        "score": sum(scores) / len(scores) if scores else math.nan,
        "runs": float(len(final)),
        "without_score": float(len(final) - len(scores)),
    }
