"""Samplers that learn, fitted to slots: several workers ask at once, and a trial may be taken up again."""

import math
import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from optuna import Study
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler
from optuna.samplers.nsgaii import BLXAlphaCrossover, PolynomialMutation
from optuna.trial import FrozenTrial, TrialState

from rnnlab.sweep.plan.samplers import Sampler
from rnnlab.sweep.plan.space import Space
from rnnlab.sweep.store.optuna_private import note

if TYPE_CHECKING:
    import cmaes

GENERATION = "generation"
"""User attribute of a trial that CMA-ES proposed; unlike a system attribute it stays with the slot."""
FIRST_STEP = 1 / 6
"""Standard deviation of the first generation of CMA-ES, as a share of every range."""


class Distinct(BaseSampler):
    """Asks another sampler, and takes a random point instead of one that was tried before.

    A run is a function of its configuration, so the same point again would teach nothing. Genetic algorithms propose
    such copies of a parent often, Gaussian processes in the corners of the space.

    Args:
        inner: the sampler that is asked.
        seed: of the random points.
    """

    def __init__(self, inner: BaseSampler, seed: int) -> None:
        self.inner, self.random = inner, RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        point = self.inner.sample_relative(study, trial, search_space)
        if len(point) < len(search_space):  # the others are drawn at random anyway
            return point
        others = [other.params for other in study.get_trials(deepcopy=False) if other.number != trial.number]
        if point and any(point.items() <= params.items() for params in others):
            space = search_space.items()
            return {name: self.random.sample_independent(study, trial, name, values) for name, values in space}
        return point

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self.inner.before_trial(study, trial)

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        self.inner.after_trial(study, trial, state, values)


class CmaEs(BaseSampler):
    """Covariance matrix adaptation over the ranges of a search space; choices are drawn at random.

    The state of the search is worked out anew from the trials that are done, in the order in which they were done,
    where Optuna's sampler keeps a pickled object in the storage, which would run whatever somebody puts there. The
    first generation spreads around the best start-up point. A pruned trial ranks behind every completed one.

    Args:
        space: what is searched.
        seed: of this proposal.
        startup: trials that have to be done first.

    Reference: Hansen 2016, "The CMA Evolution Strategy: A Tutorial".
    """

    def __init__(self, space: Space, seed: int, startup: int) -> None:
        self.ranges = {name: dimension for name, dimension in space.items() if dimension.choices is None}
        self.seed, self.startup = seed % 2**31, startup
        self.random = RandomSampler(seed=seed)

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        done = _done(study)
        known = done[0].distributions.items() if len(done) >= self.startup else ()
        return {name: values for name, values in known if not isinstance(values, CategoricalDistribution)}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space:
            return {}
        search = self._replay(_done(study))
        note(study, trial, GENERATION, search.generation)
        shares = zip(self.ranges.items(), search.ask(), strict=True)
        return {name: dimension.at(float(share)) for (name, dimension), share in shares}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self.random.sample_independent(study, trial, param_name, param_distribution)

    def _replay(self, done: list[FrozenTrial]) -> "cmaes.CMA":
        """The search after every whole generation that is done."""
        import cmaes  # late: it brings scipy.stats, which takes most of a second

        start = min(done[: self.startup], key=_rank)
        bounds = np.array([[0.0, 1.0]] * len(self.ranges))
        search = cmaes.CMA(self._shares(start), FIRST_STEP, bounds, seed=self.seed)
        while True:
            members = [trial for trial in done if trial.user_attrs.get(GENERATION) == search.generation]
            if len(members) < search.population_size:
                return search
            # With several workers a generation may have more members than it needs; those came too late.
            search.tell([(self._shares(trial), _rank(trial)) for trial in members[: search.population_size]])

    def _shares(self, trial: FrozenTrial) -> np.ndarray:
        return np.array([dimension.share(trial.params[name]) for name, dimension in self.ranges.items()])


class Genetic(NSGAIISampler):
    """NSGA-II in which planned points, and trials taken up again, belong to a generation too.

    Optuna's notes the generation when it proposes a point, which it never does for a point that is fixed. With one
    objective one trial dominates another by being better, and the best of all generations are the parents: a plain
    genetic algorithm.
    """

    def after_trial(self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None) -> None:
        if state == TrialState.COMPLETE:
            self.get_trial_generation(study, trial)
        super().after_trial(study, trial, state, values)


def genetic(sampler: Sampler, population: int, seed: int) -> Genetic:
    """The genetic algorithm of a sweep.

    A child of `nsga2` takes each value from either parent, or a random one instead; one of `genetic` takes a value
    between or beside those of its parents, shifted a little now and then, which a single objective over ranges is
    better served with.

    Args:
        sampler: `genetic`, or `nsga2` with cost as a second objective.
        population: members of a generation.
        seed: of this proposal.

    Reference: Eshelman and Schaffer 1993, "Real-Coded Genetic Algorithms and Interval-Schemata" (blend crossover);
        Deb and Goyal 1996, "A Combined Genetic Adaptive Search (GeneAS) for Engineering Design" (mutation).
    """
    if sampler == "nsga2":
        return Genetic(population_size=population, seed=seed)
    with warnings.catch_warnings(category=ExperimentalWarning, action="ignore"):  # or every worker's log says so
        crossover, mutation = BLXAlphaCrossover(), PolynomialMutation()
        return Genetic(population_size=population, seed=seed, crossover=crossover, mutation=mutation)


def _done(study: Study) -> list[FrozenTrial]:
    """Trials that ended with a verdict, in the order in which they did."""
    trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
    return sorted(trials, key=lambda trial: (trial.datetime_complete or datetime.max, trial.number))


def _rank(trial: FrozenTrial) -> float:
    """What a trial is ranked by, lower first."""
    return trial.value if trial.state == TrialState.COMPLETE and trial.value is not None else math.inf
