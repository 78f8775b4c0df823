"""Makes the sampler and the pruner that a sweep has chosen; what each asks of a sweep is checked in `plan/`."""

import warnings

from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner, NopPruner, WilcoxonPruner
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler

from rnnlab.common.seeding import derive_seed
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.pruners import REDUCTION, WILCOXON_P
from rnnlab.sweep.plan.samplers import startup_trials
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.search.hyperband import Hyperband
from rnnlab.sweep.search.median import Median
from rnnlab.sweep.search.samplers import CmaEs, Distinct, genetic


def make_pruner(definition: SweepDefinition, plan: StudyPlan) -> BasePruner:
    """The pruner of a study's search.

    The median rule holds from a quarter of the updates and the start-up trials on. Hyperband has its first rung at the
    first evaluation.
    """
    training = plan.config({}, definition.seed).training
    if definition.pruner == "median":
        return Median(startup_trials(definition.search_trials), training.steps // 4)
    if definition.pruner == "hyperband":
        return Hyperband(training.eval_every, training.steps, REDUCTION)
    if definition.pruner == "wilcoxon":
        with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):  # or every worker's log says so
            return WilcoxonPruner(p_threshold=WILCOXON_P)
    return NopPruner()


def make_sampler(definition: SweepDefinition, plan: StudyPlan, slot: int) -> BaseSampler:
    """The sampler that proposes the point of one slot; its seed belongs to arm, task and slot.

    Where all points are fixed when slots are planned nobody is ever asked.
    """
    seed = derive_seed(definition.seed, "sampler", plan.name, slot) % 2**32
    startup = startup_trials(definition.search_trials)
    if definition.sampler == "tpe":
        return Distinct(TPESampler(seed=seed, n_startup_trials=startup), seed)
    if definition.sampler == "cmaes":
        return Distinct(CmaEs(plan.space, seed, startup), seed)
    if definition.sampler == "gp":
        return Distinct(GPSampler(seed=seed, n_startup_trials=startup, warn_independent_sampling=False), seed)
    if definition.sampler in ("genetic", "nsga2"):
        return Distinct(genetic(definition.sampler, max(2, startup), seed), seed)
    return RandomSampler(seed=seed)
