"""The sampler and the pruner that are made do what their names say, and treat every arm alike."""

from typing import Any

import optuna
import pytest
from pruning import open_study, start, train

from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.pruners import LEAST_WILCOXON_SEEDS
from rnnlab.sweep.plan.samplers import startup_trials
from rnnlab.sweep.plan.space import suggest
from rnnlab.sweep.search.make import make_sampler


def test_a_sampler_belongs_to_arm_and_slot(tiny: dict[str, Any]) -> None:
    definition = SweepDefinition.parse(tiny | {"sampler": "tpe"})
    proposals = {
        tuple(suggest(plan.space, optuna.create_study(sampler=make_sampler(definition, plan, slot)).ask()).values())
        for plan in definition.studies
        for slot in (0, 1)
    }
    assert len(proposals) == 4


def test_median_waits_for_the_start_and_then_ends_the_worse_half(tiny: dict[str, Any]) -> None:
    study = open_study(tiny, "median", trials=12)
    good = [start(study) for _ in range(startup_trials(12))]
    bad = start(study)
    for trial in good[1:]:
        trial.report(0.1, 10)
        trial.report(0.1, 100)
    bad.report(9.0, 10)
    assert not bad.should_prune()  # a quarter of the updates have to be done first
    bad.report(9.0, 100)
    assert not bad.should_prune()  # too few have come as far
    good[0].report(0.1, 100)
    assert bad.should_prune() and not good[0].should_prune()
    for trial in good:
        study.tell(trial, 0.1)
    assert bad.should_prune()


@pytest.mark.parametrize("seeds", [LEAST_WILCOXON_SEEDS, 8])
def test_wilcoxon_ends_a_trial_that_loses_on_every_seed_as_soon_as_that_means_anything(
    tiny: dict[str, Any], seeds: int
) -> None:
    study = open_study(tiny, "wilcoxon", search_seeds=seeds)
    best = [0.1 + 0.01 * k for k in range(seeds)]
    assert train(study, start(study), best) is None
    assert train(study, start(study), [loss + 0.5 for loss in best]) == 3  # p = 1/16 after four seeds
    assert train(study, start(study), [loss - 0.01 for loss in best]) is None
    mixed = [loss - 0.01 + 0.02 * (-1) ** k for k, loss in enumerate(best)]
    assert train(study, start(study), mixed) is None
