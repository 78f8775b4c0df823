"""One slot from claim to result: the code that every worker runs, wherever it runs."""

import json
import math
import shlex
import shutil
import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from rnnlab.common.errors import UserError
from rnnlab.common.files import lacks_room
from rnnlab.common.interrupts import Interrupted
from rnnlab.common.plugins import blamed
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.plan.outline import Phase
from rnnlab.sweep.plan.pruners import WITHIN_RUNS
from rnnlab.sweep.plan.space import suggest
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.store.home import OUTBOX
from rnnlab.sweep.store.optuna_private import reported_values
from rnnlab.sweep.store.slots import fail, may_run_short
from rnnlab.tracking.outbox import Entry, Outbox
from rnnlab.tracking.provenance import CONFIG, config_params, config_tags
from rnnlab.tracking.run_state import OBJECTIVE, RunState
from rnnlab.training.company import Slot
from rnnlab.training.memory import out_of_memory
from rnnlab.training.progress import Progress
from rnnlab.training.result import Curve, Result

if TYPE_CHECKING:
    from rnnlab.tracking.courier import Courier  # brings MLflow, which a worker of this machine does without

ROLES: dict[Phase, str] = {
    "search": "a search trial, which helps to choose the hyperparameters and is not a result.\n\n"
    "Where its gradient goes: `profile.nc` among the artifacts",
    "final": "a result, with the tuned hyperparameters on a fresh seed.\n\n"
    "Where its gradient goes: `profile.nc` among the artifacts; the first seed has pictures, under *Model metrics*",
}
REFUSED = "refused"
"""In the place of the hash of a configuration that there cannot be."""


def outbox(folder: Path) -> Outbox:
    """The outbox of a sweep's folder; its keys begin with the task's label and the arm's name."""
    return Outbox(folder / OUTBOX)


@dataclass(frozen=True)
class Job:
    """A claimed slot and everything needed to run it.

    Attributes:
        definition: the sweep.
        plan: the arm and task.
        study: the Optuna study of the arm, task and phase.
        trial: the claimed trial.
        folder: the sweep's folder.
        courier: takes the runs to MLflow before Optuna is told, on a machine that might never come back with its disk.
        run_short: told that memory has ended; says whether slots beside this one may have taken it.
    """

    definition: SweepDefinition
    plan: StudyPlan
    study: optuna.Study
    trial: Trial
    folder: Path
    courier: "Courier | None" = None
    run_short: Callable[[], bool] = lambda: False

    @property
    def phase(self) -> Phase:
        return self.trial.user_attrs["phase"]

    @property
    def slot(self) -> int:
        return self.trial.user_attrs["slot"]

    @property
    def seeds(self) -> range:
        """Seeds to train on, one after the other."""
        first = self.trial.user_attrs["seed"]
        return range(first, first + (self.definition.search_seeds if self.phase == "search" else 1))

    @property
    def scratch(self) -> Path:
        """Folder for what the slot needs until it is settled."""
        return self.folder / "slots" / self._key

    def checkpoint(self, seed: int) -> Path:
        return self.scratch / f"seed-{seed}" / "checkpoint.pt"

    def entry(self, seed: int) -> Entry:
        """Where the run of a seed lies on its way to MLflow."""
        return outbox(self.folder).entry(f"{self._key}/seed-{seed}")

    @property
    def _key(self) -> str:
        return f"{self.plan.task}/{self.plan.arm}/{self.phase}-{self.slot}"


def execute(job: Job, should_stop: Callable[[], bool]) -> Slot:
    """Work on a claimed slot: train on each seed and end its entry in the outbox, tell Optuna, drop the checkpoints.

    A kill at any point leaves the trial RUNNING; it is then enqueued again and picks up the checkpoint, or, of a seed
    whose entry has ended already, only what came of it.

    Args:
        job: the slot.
        should_stop: whether to save a checkpoint and stop.

    Yields:
        Runs to be trained; see `rnnlab.training.company`.

    Raises:
        Interrupted: if `should_stop` turned true; the trial stays RUNNING for whoever starts the sweep again.
        OSError: if a disk is full; likewise.
    """
    runs: list[RunState] = []
    for seed in job.seeds:
        run = job.entry(seed).outcome() or (yield from _train(job, seed, should_stop))
        if run is None:  # it has been enqueued again
            return
        if job.courier is not None:
            job.courier.wait_for(job.entry(seed))
        runs.append(run)
        if run.status != "FINISHED" or _hopeless(job, runs):
            break
    _tell(job, runs)
    shutil.rmtree(job.scratch, ignore_errors=True)


def give_up(job: Job, reason: str) -> bool:
    """End a slot's run as failed, unless all have ended by themselves, and only their worker could not say so any more.

    Returns:
        Whether it has failed.
    """
    for seed in job.seeds:
        entry = job.entry(seed)
        run = entry.outcome()
        if run is None:
            entry.open(_begun(job, seed))
            run = entry.fail(reason)
        if run.status != "FINISHED":
            return run.status == "FAILED"
    return False


def _config(job: Job, seed: int) -> Config:
    return job.plan.config(suggest(job.plan.space, job.trial), seed)


def _described(job: Job, seed: int) -> tuple[dict[str, str], dict[str, str]]:
    """Tags and parameters of the run; where the configuration refuses its point, what it was to be."""
    try:
        config = _config(job, seed)
        return config_tags(config), config_params(config)
    except UserError:
        point, plain = suggest(job.plan.space, job.trial), job.plan.config({}, seed)
        wanted = json.dumps(override(job.plan.settings, {**point, "seed": seed}))
        params = {name: value if isinstance(value, str) else json.dumps(value) for name, value in point.items()}
        return {**config_tags(plain), CONFIG: wanted, "rnnlab.config_hash": REFUSED}, {**config_params(plain), **params}


def _begun(job: Job, seed: int) -> RunState:
    """A run that is about to begin."""
    tags, params = _described(job, seed)
    task = f"{job.plan.task} " if len(job.definition.tasks) > 1 else ""
    several = f" seed {seed}" if len(job.seeds) > 1 else ""
    identity = {
        "mlflow.parentRunId": job.study.user_attrs["parent_run"],
        "rnnlab.phase": job.phase,
        "rnnlab.trial": str(job.slot),
        "rnnlab.seed": str(seed),
    }
    return RunState(
        experiment=job.definition.name,
        name=f"{task}{job.plan.arm} {job.phase} {job.slot}{several}",
        identity=identity,
        tags={**tags, **_tags(job, seed)},
        params=params,
    )


def _train(job: Job, seed: int, should_stop: Callable[[], bool]) -> Generator[Progress, Result, RunState | None]:
    """Train on one seed, and say how it ended; None where the slot has to be tried again."""
    entry = job.entry(seed)
    entry.open(_begun(job, seed))
    try:
        config = _config(job, seed)
        follower = _Follower(job, entry, config.training.steps, should_stop)
        result = yield Progress(config, job.checkpoint(seed), follower.follow, should_stop=follower.should_stop)
    except (Interrupted, UpdateFinishedTrialError):  # the latter: the trial was taken from this worker
        raise
    except optuna.TrialPruned as pruned:
        return entry.fail(str(pruned), status="KILLED")
    except UserError as error:  # such as a point that the configuration refuses
        return entry.fail(str(error))
    except Exception as error:  # whatever one trial does wrong, the others go on
        if lacks_room(error):
            raise
        traceback.print_exc()
        reason = blamed(error) or f"{type(error).__name__}: {error}"
        if out_of_memory(error):
            cost = None if job.run_short() else "shortages"
            if cost is None or may_run_short(job.trial.user_attrs):
                fail(job.study, job.trial, reason, retry=True, cost=cost)
                return None
        return entry.fail(reason)
    return entry.finish(result, {OBJECTIVE: repr(result.objective)})


def _hopeless(job: Job, runs: list[RunState]) -> bool:
    """Whether the seeds so far say that the others need not be tried."""
    if job.definition.pruner != "wilcoxon" or job.phase != "search":
        return False
    done = len(runs) - 1
    if done not in reported_values(job.trial):
        job.trial.report(float(runs[-1].tags[OBJECTIVE]), done)
    return len(runs) < len(job.seeds) and job.trial.should_prune()


def _tell(job: Job, runs: list[RunState]) -> None:
    """Tell Optuna the mean over the seeds, or why there is none; the mean score is for those who watch."""
    last = runs[-1]
    if last.status == "FAILED":
        fail(job.study, job.trial, last.tags["rnnlab.reason"], retry=False)
        return
    if last.status == "KILLED" or len(runs) < len(job.seeds):
        job.study.tell(job.trial, state=TrialState.PRUNED)
        return
    score = fmean(run.summary["score"] for run in runs)
    if math.isfinite(score):
        job.trial.set_user_attr("score", score)
    values = [fmean(float(run.tags[OBJECTIVE]) for run in runs), fmean(run.summary["cost"] for run in runs)]
    job.study.tell(job.trial, values[: len(job.study.directions)])


def _tags(job: Job, seed: int) -> dict[str, str]:
    """Where the run stands in its sweep, and the command that repeats this very run."""
    point = {**job.trial.params, "seed": seed}
    settings = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in point.items()]
    plan, origin = job.plan, Origin.noted(job.study.user_attrs)
    command = shlex.join(["rnnlab", "run", *origin.arguments, "--task", plan.task, "--arm", plan.arm, *settings])
    return {
        "rnnlab.sweep": job.definition.name,
        "rnnlab.arm": plan.arm,
        "rnnlab.command": command,
        "mlflow.note.content": f"**{plan.arm}** on **{plan.task}**: {ROLES[job.phase]}. Again:\n\n    {command}\n",
    }


class _Follower:
    """Follows a run: its curves to the outbox, its validation losses to the pruner.

    Whether to prune is asked after all who train together have reported, so that peers are compared at one update.
    """

    def __init__(self, job: Job, entry: Entry, steps: int, should_stop: Callable[[], bool]) -> None:
        self.trial, self.entry, self.steps, self._told_to_stop = job.trial, entry, steps, should_stop
        self.prunes = job.definition.pruner in WITHIN_RUNS and job.phase == "search"
        self.reported = set(reported_values(job.trial))
        self._judged: tuple[int, float] | None = None

    def follow(self, step: int, curves: dict[str, Curve]) -> None:
        """Take note of a look at the validation set."""
        self.entry.follow(curves)
        loss = curves["val/loss"].values[-1]
        if not self.prunes or not math.isfinite(loss):
            return
        if step not in self.reported:
            self.trial.report(loss, step)
        self._judged = step, loss

    def should_stop(self) -> bool:
        """Whether to save a checkpoint and stop; a run that falls behind its peers is pruned instead."""
        if self._judged is not None:
            (step, loss), self._judged = self._judged, None
            if step < self.steps and self.trial.should_prune():
                raise optuna.TrialPruned(f"pruned after {step} updates, at a validation loss of {loss:.4g}")
        return self._told_to_stop()
