"""A worker process: claims one slot at a time until it is told to stop or its parent is gone."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import optuna
from optuna.trial import Trial

from rnnlab.errors import UserError
from rnnlab.files import lacks_room
from rnnlab.sweep.definition import StudyPlan, SweepDefinition, load_sweep_definition
from rnnlab.sweep.locks import FileLock
from rnnlab.sweep.pool import NO_ROOM
from rnnlab.sweep.pruners import make_pruner
from rnnlab.sweep.samplers import make_sampler
from rnnlab.sweep.slots import claim
from rnnlab.sweep.space import suggest
from rnnlab.sweep.storage import open_storage
from rnnlab.sweep.trial import Job, execute
from rnnlab.training.loop import Interrupted

IDLE_SECONDS = 0.3
"""Between two looks for a waiting slot."""


class Worker:
    """Runs slots of one sweep.

    Args:
        folder: the sweep's folder.
        parent: process id of the parent, without which a worker does not go on.
    """

    def __init__(self, folder: Path, parent: int) -> None:
        self.folder, self.parent = folder, parent
        self.told_to_stop = False
        self.definition = load_sweep_definition(folder / "sweep.yaml")
        self.storage = open_storage(folder)
        self.turn = FileLock(folder / "proposing.lock")
        self.plans: dict[str, StudyPlan] = {}
        for plan in self.definition.plan():
            self.plans |= {plan.study_name("search"): plan, plan.study_name("final"): plan}

    def should_stop(self) -> bool:
        """Whether a signal came, or the parent died without one."""
        return self.told_to_stop or os.getppid() != self.parent

    def stop(self, *_: object) -> None:
        """Finish the present update, save a checkpoint and leave."""
        self.told_to_stop = True

    def work(self) -> None:
        """Run slots until told to stop."""
        studies = [optuna.load_study(study_name=name, storage=self.storage) for name in self.plans]
        while not self.should_stop():
            claimed = claim(studies)
            if claimed is None:
                time.sleep(IDLE_SECONDS)
                continue
            plan = self.plans[claimed[0].study_name]
            trial = propose(self.definition, plan, *claimed, self.turn)
            job = Job(self.definition, plan, trial.study, trial, self.folder)
            try:
                execute(job, self.should_stop)
            except Interrupted:
                return


def propose(definition: SweepDefinition, plan: StudyPlan, study: optuna.Study, trial: Trial, turn: FileLock) -> Trial:
    """Settle the point of a claimed slot.

    Args:
        definition: the sweep.
        plan: arm and task of the study.
        study: where the slot was claimed.
        trial: what was claimed.
        turn: taken by one worker after the other, so that a sampler knows what the others are about to try.

    Returns:
        The trial, with its point, its sampler and its pruner.
    """
    # A study of its own: Optuna's samplers look at trials that a study has remembered from an earlier proposal.
    sampler, pruner = make_sampler(definition, plan, trial.user_attrs["slot"]), make_pruner(definition, plan)
    fresh = optuna.load_study(study_name=study.study_name, storage=study._storage, sampler=sampler, pruner=pruner)
    settled = Trial(fresh, trial._trial_id)
    with turn:
        suggest(plan.space, settled)
    return settled


def main(arguments: list[str]) -> int:
    """Entry point of `python -m rnnlab.sweep.worker FOLDER INDEX PARENT`."""
    folder, index, parent = Path(arguments[0]), int(arguments[1]), int(arguments[2])
    try:
        lock = FileLock(folder / "workers" / f"{index}.lock")
        if not lock.acquire(wait=False):
            raise UserError(f"worker {index} of {folder} is running already: stop it first")
        lock.path.write_text(str(os.getpid()))
        worker = Worker(folder, parent)
        signal.signal(signal.SIGTERM, worker.stop)
        signal.signal(signal.SIGINT, worker.stop)
        worker.work()
    except OSError as error:
        if not lacks_room(error):
            raise
        with contextlib.suppress(OSError):  # the log may lie on the same disk
            print(f"cannot write to {folder}: {error.strerror}", file=sys.stderr, flush=True)
        return NO_ROOM
    return 0


if __name__ == "__main__":
    code = main(sys.argv[1:])
    # Everything is stored, and tearing down torch and MLflow would keep whoever stops a sweep waiting.
    os._exit(code)
