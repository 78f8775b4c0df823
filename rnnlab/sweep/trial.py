"""One slot from claim to result: the code that every worker runs, wherever it runs."""

import json
import math
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import optuna
from mlflow.entities import Run
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import Trial, TrialState

from rnnlab.config import Config
from rnnlab.sweep.budgets import budget_arguments
from rnnlab.sweep.definition import Phase, StudyPlan, SweepDefinition
from rnnlab.sweep.pruners import WITHIN_RUNS
from rnnlab.sweep.space import suggest
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.store import connect, experiment_id, explained, tagged
from rnnlab.tracking.writer import OBJECTIVE, RunWriter
from rnnlab.training.loop import Interrupted, run
from rnnlab.training.result import Curve

ROLES: dict[Phase, str] = {
    "search": "a search trial, which helps to choose the hyperparameters and is not a result",
    "final": "a result, with the tuned hyperparameters on a fresh seed",
}


@dataclass(frozen=True)
class Job:
    """A claimed slot and everything needed to run it.

    Attributes:
        definition: the sweep.
        plan: the arm and task.
        study: the Optuna study of the arm, task and phase.
        trial: the claimed trial.
        folder: the sweep's folder.
        uri: MLflow tracking URI.
    """

    definition: SweepDefinition
    plan: StudyPlan
    study: optuna.Study
    trial: Trial
    folder: Path
    uri: str

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
        return self.folder / "slots" / self.plan.task / self.plan.arm / f"{self.phase}-{self.slot}"

    def checkpoint(self, seed: int) -> Path:
        return self.scratch / f"seed-{seed}" / "checkpoint.pt"


class Verdict(NamedTuple):
    """What a finished run says of its point.

    Attributes:
        objective: what tuning minimises.
        score: over the test set; NaN where the run has none.
        cost: from `Result.cost`.
    """

    objective: float
    score: float
    cost: float


def execute(job: Job, should_stop: Callable[[], bool]) -> None:
    """Run a claimed slot: train on each seed and write to MLflow, tell Optuna, drop the checkpoints, in this order.

    A kill at any point leaves the trial RUNNING; it is then enqueued again and picks up the checkpoint, the MLflow
    run of its seed, or, where that run is FINISHED already, only its verdict.

    Args:
        job: the slot.
        should_stop: whether to save a checkpoint and stop.

    Raises:
        Interrupted: if `should_stop` turned true; the trial stays RUNNING for whoever starts the sweep again.
    """
    verdicts: list[Verdict] = []
    for seed in job.seeds:
        config = _config(job, seed)
        tried = _find_run(job, seed) if "retried" in job.trial.user_attrs else None
        if tried is not None and tried.info.status == "FINISHED":
            verdict = _stored_verdict(tried)
        else:
            verdict = _train(job, config, _open_run(job, config, tried), should_stop)
        if verdict is None:  # the trial is settled: its run was pruned, or failed
            break
        verdicts.append(verdict)
        if _hopeless(job, verdicts):
            job.study.tell(job.trial, state=TrialState.PRUNED)
            break
    else:
        _tell(job, verdicts)
    shutil.rmtree(job.scratch, ignore_errors=True)


def give_up(job: Job, reason: str) -> None:
    """Note in MLflow that a slot has failed for good, even where it never came to have a run there."""
    for seed in job.seeds:
        tried = _find_run(job, seed)
        if tried is None or tried.info.status != "FINISHED":
            _open_run(job, _config(job, seed), tried).fail(reason)
            return


def _config(job: Job, seed: int) -> Config:
    return job.plan.config(suggest(job.plan.space, job.trial), seed)


def _find_run(job: Job, seed: int) -> Run | None:
    """Find the MLflow run of one seed of a slot that was tried before.

    Looking it up, rather than noting its id somewhere, leaves no moment at which a kill could give a slot two runs.
    """
    parent = job.study.user_attrs["parent_run"]
    tags = {"mlflow.parentRunId": parent, "rnnlab.phase": job.phase, "rnnlab.trial": str(job.slot)}
    tags["rnnlab.seed"] = str(seed)
    with explained(job.uri):
        experiment = experiment_id(job.uri, job.definition.name)
        found = connect(job.uri).search_runs([experiment], tagged(tags), max_results=1)
    return found[0] if found else None


def _open_run(job: Job, config: Config, tried: Run | None) -> RunWriter:
    several = f" seed {config.seed}" if len(job.seeds) > 1 else ""
    return RunWriter.start(
        job.uri,
        job.definition.name,
        f"{job.plan.arm} {job.phase} {job.slot}{several}",
        {**config_tags(config), **_tags(job, config)},
        config_params(config),
        job.study.user_attrs["parent_run"],
        tried.info.run_id if tried else None,
    )


def _train(job: Job, config: Config, writer: RunWriter, should_stop: Callable[[], bool]) -> Verdict | None:
    """Train on one seed; None where the run did not come to its end, which settles the trial."""
    watch = _Watch(job, writer, config.training.steps)
    try:
        writer.log_task(config.task)
        result = run(config, checkpoint=job.checkpoint(config.seed), on_evaluation=watch, should_stop=should_stop)
    except (Interrupted, UpdateFinishedTrialError):  # the latter: the trial was taken from this worker
        raise
    except optuna.TrialPruned as pruned:
        writer.log_curves(watch.curves)
        writer.fail(str(pruned), status="KILLED")
        job.study.tell(job.trial, state=TrialState.PRUNED)
    except Exception as error:  # whatever one trial does wrong, the others go on
        reason = f"{type(error).__name__}: {error}"
        writer.log_curves(watch.curves)
        writer.fail(reason)
        job.trial.set_user_attr("reason", reason)
        job.study.tell(job.trial, state=TrialState.FAIL)
    else:
        connect(job.uri).set_tag(writer.run_id, OBJECTIVE, repr(result.objective))
        writer.finish(result)
        return Verdict(result.objective, result.test_score, result.cost)
    return None


def _stored_verdict(run: Run) -> Verdict:
    metrics = run.data.metrics
    return Verdict(float(run.data.tags[OBJECTIVE]), metrics.get("score", math.nan), metrics["cost"])


def _hopeless(job: Job, verdicts: list[Verdict]) -> bool:
    """Whether the seeds so far say that the others need not be tried."""
    if job.definition.pruner != "wilcoxon" or job.phase != "search":
        return False
    done = len(verdicts) - 1
    if done not in _reported(job.trial):
        job.trial.report(verdicts[-1].objective, done)
    return len(verdicts) < len(job.seeds) and job.trial.should_prune()


def _reported(trial: Trial) -> dict[int, float]:
    """What a trial has reported to its pruner, also before it was interrupted."""
    return trial.storage.get_trial(trial._trial_id).intermediate_values


def _tell(job: Job, verdicts: list[Verdict]) -> None:
    """Tell Optuna the mean over the seeds; the mean score is for those who watch."""
    objective, score, cost = (fmean(values) for values in zip(*verdicts, strict=True))
    if math.isfinite(score):
        job.trial.set_user_attr("score", score)
    job.study.tell(job.trial, [objective, cost][: len(job.study.directions)])


def _tags(job: Job, config: Config) -> dict[str, str]:
    """Where the run stands in its sweep, and the command that repeats this very run."""
    point = {**job.trial.params, "seed": config.seed}
    settings = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in point.items()]
    plan, noted = job.plan, job.study.user_attrs
    source = budget_arguments(noted["source"], noted.get("budget"))
    command = shlex.join(["rnnlab", "run", *source, "--task", plan.task, "--arm", plan.arm, *settings])
    return {
        "rnnlab.sweep": job.definition.name,
        "rnnlab.arm": plan.arm,
        "rnnlab.phase": job.phase,
        "rnnlab.trial": str(job.slot),
        "rnnlab.command": command,
        "mlflow.note.content": f"**{plan.arm}** on **{plan.task}**: {ROLES[job.phase]}.\n\n"
        f"Where its gradient goes: the pictures under *Model metrics*, `grad`. The same run again:\n\n    {command}\n",
    }


class _Watch:
    """Follows a run: its curves to the dashboard, its validation losses to the pruner."""

    def __init__(self, job: Job, writer: RunWriter, steps: int) -> None:
        self.trial, self.writer, self.steps = job.trial, writer, steps
        self.prunes = job.definition.pruner in WITHIN_RUNS and job.phase == "search"
        self.reported = set(_reported(job.trial))
        self.curves: dict[str, Curve] = {}

    def __call__(self, step: int, curves: dict[str, Curve]) -> None:
        self.curves = curves
        self.writer.follow(curves)
        loss = curves["val/loss"].values[-1]
        if not self.prunes or not math.isfinite(loss):
            return
        if step not in self.reported:
            self.trial.report(loss, step)
        if step < self.steps and self.trial.should_prune():
            raise optuna.TrialPruned(f"pruned after {step} updates, at a validation loss of {loss:.4g}")
