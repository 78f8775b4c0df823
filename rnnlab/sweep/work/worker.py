"""A worker: claims slots and works on those of one shape together until it is told to stop, wherever it runs."""

import contextlib
import math
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from rnnlab.common.errors import UserError
from rnnlab.common.files import lacks_room
from rnnlab.common.interrupts import Interrupted
from rnnlab.common.locks import FileLock
from rnnlab.sweep.plan.definition import SweepDefinition, parse_sweep_definition
from rnnlab.sweep.plan.samplers import MOST_LEARNING, learns
from rnnlab.sweep.plan.space import suggest
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.search.make import make_pruner, make_sampler
from rnnlab.sweep.store.database_url import STORAGE_VARIABLE
from rnnlab.sweep.store.home import Home, find_home
from rnnlab.sweep.store.optuna_private import running_trial, storage_of, trial_id
from rnnlab.sweep.store.slots import INTERRUPTED, claim_many, count_waiting, recover, refill, slot_name
from rnnlab.sweep.work.pool import NO_ROOM
from rnnlab.sweep.work.trial import Job, execute, outbox
from rnnlab.training.company import Company, Slot
from rnnlab.training.memory import most_members

if TYPE_CHECKING:
    from rnnlab.tracking.courier import Courier

ProposalLock = AbstractContextManager[object]
IDLE_SECONDS = 0.3
"""Between two looks for a waiting slot."""
LOOK_SECONDS = 2.0
"""Between two looks for more, of a worker that has some in hand and has lost none since."""
SMALLER_AFTER_A_CRASH = 4
"""Fewer slots are taken up beside one whose worker died, for each such death: the kernel may have wanted its memory."""


class Worker:
    """Runs slots of one sweep.

    Args:
        home: where the sweep keeps its state.
        uri: MLflow tracking URI of a prepared store, for a worker that delivers its runs itself.
        orphaned: whether whoever started the worker is gone, without whom it does not go on.
        finished: asked while no slot is waiting; whether to leave.
        notice: told of every slot that is claimed.
    """

    def __init__(
        self,
        home: Home,
        uri: str,
        orphaned: Callable[[], bool] = lambda: False,
        finished: Callable[[], bool] = lambda: False,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.home = home
        self.courier = _courier(home, uri) if home.shared else None
        self.orphaned, self.finished, self.notice = orphaned, finished, notice
        self.told_to_stop = False
        self.storage = home.open(told_to_stop=self.should_stop)
        self.definition, self.plans = self._read_definition()
        self.studies: list[optuna.Study] = []
        self.company = Company()
        self._shape: str | None = None
        self._most = sys.maxsize
        self._crashes = 0
        self._in_hand, self._looked = 0, -float("inf")

    def _read_definition(self) -> tuple[SweepDefinition, dict[str, StudyPlan]]:
        """The definition that is kept now, and its plans by the names of their studies."""
        definition = parse_sweep_definition(self.home.definition(), f"sweep '{self.home.folder.name}'")
        both = [{plan.study_name("search"): plan, plan.study_name("final"): plan} for plan in definition.studies]
        return definition, {name: plan for each in both for name, plan in each.items()}

    def look_again(self) -> None:
        """See what the sweep has grown by since, and all that its supervisor has made of it."""
        self.storage.get_all_studies()  # waits for a database that is away, as the home does not
        if self.home.outline().hash != self.definition.outline.hash:
            self.definition, self.plans = self._read_definition()
        self.studies = self.known_studies()

    def should_stop(self) -> bool:
        """Whether somebody said so, or nobody is left who could."""
        return self.told_to_stop or self.orphaned()

    def stop(self, *_: object) -> None:
        """Finish the present update, save a checkpoint and leave."""
        self.told_to_stop = True

    def work(self) -> None:
        """Run slots until told to stop."""
        with self.courier or contextlib.nullcontext():
            self._run_slots()
            if self.courier is not None:
                self.courier.wait()

    def _run_slots(self) -> None:
        company = self.company
        with contextlib.suppress(Interrupted):
            self.studies = self._made_studies()
            while not self.should_stop() or company.size:
                if not company.size or company.size < self._in_hand or time.monotonic() - self._looked > LOOK_SECONDS:
                    self._fill_up()
                if company.size:
                    company.advance()
                elif self.finished():
                    return
                else:
                    time.sleep(IDLE_SECONDS)

    def _fill_up(self) -> None:
        """Claim slots for as many runs as it pays to train together; every worker gets its share of those waiting."""
        company = self.company
        if not company.size:
            self._crashes = 0
        while not self.should_stop() and (claimed := self._claim_companions()):
            for study, trial in claimed:
                self._crashes = max(self._crashes, trial.user_attrs["crashes"])
                company.take(self._work_on(study, trial))
                self._shape = self.plans[study.study_name].shape
        self._in_hand, self._looked = company.size, time.monotonic()

    def _run_short(self) -> bool:
        """Take half as many slots at once from now on, for want of memory; whether others were in hand to take it."""
        self._most = min(self._most, max(1, self.company.size // 2))
        return self.company.size > 0

    def _claim_companions(self) -> list[tuple[optuna.Study, Trial]]:
        """Claim the next slot, or beside those in hand as many of their shape as are still to be taken up."""
        company = self.company
        if not company.size:
            return claim_many(self.studies, 1)
        if self._shape is None:
            return []
        alike = [study for study in self.studies if self.plans[study.study_name].shape == self._shape]
        plan = self.plans[alike[0].study_name]
        most = self.definition.population or most_members(plan.config({}, self.definition.seed))
        most //= SMALLER_AFTER_A_CRASH**self._crashes
        share = math.ceil((count_waiting(self.studies) + company.size) / self.definition.workers)
        room = min(most, share, self._most) - company.size
        if not learns(self.definition.sampler):
            return claim_many(alike, room)
        final = [study for study in alike if study.study_name == self.plans[study.study_name].study_name("final")]
        search = [study for study in alike if study not in final]
        running = sum(len(study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))) for study in search)
        return claim_many(final, room) or claim_many(search, min(room, MOST_LEARNING - running))

    def known_studies(self) -> list[optuna.Study]:
        """Those of the sweep's studies that its supervisor has made."""
        known = set(optuna.get_all_study_names(self.storage))
        return [optuna.load_study(study_name=name, storage=self.storage) for name in self.plans if name in known]

    def _made_studies(self) -> list[optuna.Study]:
        """The sweep's studies, as soon as its supervisor has made them."""
        while len(studies := self.known_studies()) < len(self.plans) and not self.should_stop():
            time.sleep(IDLE_SECONDS)
        return studies

    def _work_on(self, study: optuna.Study, trial: Trial) -> Slot:
        """Work on a claimed slot, and hand it back if told to stop; one taken from this worker is dropped."""
        plan = self.plans[study.study_name]
        self.notice(slot_name(plan, trial))
        with self.home.heartbeat(trial_id(trial)) as heartbeat:
            try:
                proposed = propose(self.definition, plan, study, trial, self.home.proposal_lock())
                folder = self.home.folder
                job = Job(self.definition, plan, proposed.study, proposed, folder, self.courier, self._run_short)
                yield from execute(job, lambda: self.should_stop() or (heartbeat is not None and heartbeat.lost))
            except UpdateFinishedTrialError:
                return
            except Interrupted:
                if self.should_stop():
                    self._hand_back(study, trial)

    def _hand_back(self, study: optuna.Study, trial: Trial) -> None:
        recover(study, lambda other: INTERRUPTED if trial_id(other) == trial_id(trial) else None)
        if self.home.shared:  # nobody may be left to enqueue it again; where somebody is, the ticket goes to one
            refill(study)


def _courier(home: Home, uri: str) -> "Courier":
    from rnnlab.tracking.courier import Courier  # late: it brings MLflow

    return Courier(outbox(home.folder), uri)


def propose(
    definition: SweepDefinition, plan: StudyPlan, study: optuna.Study, trial: Trial, lock: ProposalLock
) -> Trial:
    """Settle the point of a claimed slot.

    Args:
        definition: the sweep.
        plan: arm and task of the study.
        study: where the slot was claimed.
        trial: what was claimed.
        lock: held by one worker at a time, so that a sampler knows what the others are about to try.

    Returns:
        The trial, with its point, its sampler and its pruner.
    """
    # A study of its own: Optuna's samplers look at trials that a study has remembered from an earlier proposal.
    sampler, pruner = make_sampler(definition, plan, trial.user_attrs["slot"]), make_pruner(definition, plan)
    fresh = optuna.load_study(study_name=study.study_name, storage=storage_of(study), sampler=sampler, pruner=pruner)
    settled = running_trial(fresh, trial)
    with lock:
        suggest(plan.space, settled)
    return settled


def main(arguments: list[str]) -> int:
    """Entry point of `python -m rnnlab.sweep.work.worker FOLDER INDEX PARENT`, as a pool starts it."""
    folder, index, parent = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    try:
        lock = FileLock(folder / "workers" / f"{index}.lock")
        if not lock.acquire(wait=False):
            raise UserError(f"worker {index} of {folder} is running already: stop it first")
        lock.path.write_text(str(os.getpid()))
        home = find_home(folder.parents[1], folder.name, os.environ.get(STORAGE_VARIABLE))
        worker = Worker(home, os.environ["MLFLOW_TRACKING_URI"], orphaned=lambda: os.getppid() != parent)
        obey_signals(worker)
        worker.work()
    except OSError as error:
        if not lacks_room(error):
            raise
        with contextlib.suppress(OSError):  # the log may lie on the same disk
            print(f"cannot write to {folder}: {error.strerror}", file=sys.stderr, flush=True)
        return NO_ROOM
    return 0


def obey_signals(worker: Worker) -> None:
    """Stop the worker at SIGTERM, which batch schedulers send too, and at Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # Everything is stored, and tearing down torch and MLflow would keep whoever stops a sweep waiting.
    os._exit(code)
