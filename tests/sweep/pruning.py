"""A study with a pruner, whose losses a test makes up."""

from collections.abc import Sequence
from typing import Any

import optuna
from optuna.trial import TrialState

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.search.make import make_pruner
from rnnlab.sweep.store.slots import claim, fill


def open_study(tiny: dict[str, Any], pruner: str, trials: int = 40, **fields: Any) -> optuna.Study:
    """A study with the pruner of a sweep of 270 updates, 10 between evaluations."""
    tiny["base"]["training"] |= {"steps": 270, "eval_every": 10}
    definition = SweepDefinition.parse(tiny | {"pruner": pruner, "trials": trials} | fields)
    study = optuna.create_study(pruner=make_pruner(definition, definition.studies[0]))
    refill(study, trials)
    return study


def refill(study: optuna.Study, trials: int) -> None:
    fill(study, [{"x": float(slot)} for slot in range(trials)], [{"phase": "search"}] * trials)


def start(study: optuna.Study) -> optuna.Trial:
    claimed = claim([study])
    assert claimed is not None
    return claimed[1]


def train(study: optuna.Study, trial: optuna.Trial, losses: Sequence[float], every: int = 1) -> int | None:
    """Report losses until the trial is told to stop; the step at which it was, or None."""
    for k, loss in enumerate(losses):
        trial.report(loss, k * every)
        if k < len(losses) - 1 and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return k * every
    study.tell(trial, sum(losses) / len(losses))
    return None
