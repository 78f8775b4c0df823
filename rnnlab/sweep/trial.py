"""One slot from claim to result: the code that every worker runs, wherever it runs."""

import json
import math
import shlex
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import optuna
from mlflow.entities import Run
from optuna.trial import Trial, TrialState

from rnnlab.config import Config
from rnnlab.sweep.definition import Phase, StudyPlan, SweepDefinition
from rnnlab.sweep.space import suggest
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.store import connect, experiment_id, explained, tagged
from rnnlab.tracking.writer import SUMMARY, RunWriter
from rnnlab.training.loop import Interrupted, run
from rnnlab.training.result import Curve

OBJECTIVE = "rnnlab.objective"
"""Tag with the number that tuning minimises, written before a run is marked FINISHED."""


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
    def checkpoint(self) -> Path:
        return self.folder / "slots" / self.plan.task / self.plan.arm / f"{self.phase}-{self.slot}" / "checkpoint.pt"


def execute(job: Job, should_stop: Callable[[], bool]) -> None:
    """Run a claimed slot: train, write to MLflow, tell Optuna, drop the checkpoint, in this order.

    A kill at any point leaves the trial RUNNING; it is then enqueued again and picks up the checkpoint, the MLflow
    run, or, where that run is FINISHED already, only its objective.

    Args:
        job: the slot.
        should_stop: whether to save a checkpoint and stop.

    Raises:
        Interrupted: if `should_stop` turned true; the trial stays RUNNING for whoever starts the sweep again.
    """
    tried = _find_run(job) if "retried" in job.trial.user_attrs else None
    config = _config(job)
    if tried is not None and tried.info.status == "FINISHED":
        score = tried.data.metrics.get(f"{SUMMARY}test/{config.task.score_name}", math.nan)
        _tell(job, float(tried.data.tags[OBJECTIVE]), score)
    else:
        _train(job, config, _open_run(job, config, tried), should_stop)
    shutil.rmtree(job.checkpoint.parent, ignore_errors=True)


def give_up(job: Job, reason: str) -> None:
    """Note in MLflow that a slot has failed for good, even where it never came to have a run there."""
    _open_run(job, _config(job), _find_run(job)).fail(reason)


def _config(job: Job) -> Config:
    return job.plan.config(suggest(job.definition.search, job.trial), job.trial.user_attrs["seed"])


def _find_run(job: Job) -> Run | None:
    """Find the MLflow run of a slot that was tried before.

    Looking it up, rather than noting its id somewhere, leaves no moment at which a kill could give a slot two runs.
    """
    parent = job.study.user_attrs["parent_run"]
    tags = {"mlflow.parentRunId": parent, "rnnlab.phase": job.phase, "rnnlab.trial": str(job.slot)}
    with explained(job.uri):
        experiment = experiment_id(job.uri, job.definition.name)
        found = connect(job.uri).search_runs([experiment], tagged(tags), max_results=1)
    return found[0] if found else None


def _open_run(job: Job, config: Config, tried: Run | None) -> RunWriter:
    return RunWriter.start(
        job.uri,
        job.definition.name,
        f"{job.plan.arm} {job.phase} {job.slot}",
        {**config_tags(config), **_tags(job)},
        config_params(config),
        job.study.user_attrs["parent_run"],
        tried.info.run_id if tried else None,
    )


def _train(job: Job, config: Config, writer: RunWriter, should_stop: Callable[[], bool]) -> None:
    watch = _Watch(job, writer, config.training.steps)
    try:
        result = run(config, checkpoint=job.checkpoint, on_evaluation=watch, should_stop=should_stop)
    except Interrupted:
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
        _tell(job, result.objective, result.test_score)


def _tell(job: Job, objective: float, score: float) -> None:
    if math.isfinite(score):
        job.trial.set_user_attr("score", score)
    job.study.tell(job.trial, objective)


def _tags(job: Job) -> dict[str, str]:
    """Where the run stands in its sweep, and the command that repeats this very run."""
    point = {**job.trial.params, "seed": job.trial.user_attrs["seed"]}
    settings = [f"{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in point.items()]
    source, plan = job.study.user_attrs["source"], job.plan
    return {
        "rnnlab.sweep": job.definition.name,
        "rnnlab.arm": plan.arm,
        "rnnlab.phase": job.phase,
        "rnnlab.trial": str(job.slot),
        "rnnlab.command": shlex.join(["rnnlab", "run", source, "--task", plan.task, "--arm", plan.arm, *settings]),
    }


class _Watch:
    """Follows a run: its curves to the dashboard, its validation losses to the pruner."""

    def __init__(self, job: Job, writer: RunWriter, steps: int) -> None:
        self.trial, self.writer, self.steps = job.trial, writer, steps
        self.prunes = job.definition.pruner != "none" and job.phase == "search"
        self.reported = set(job.trial.storage.get_trial(job.trial._trial_id).intermediate_values)
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
            raise optuna.TrialPruned(f"pruned after {step} updates: validation loss {loss:.4g} is above the median")
