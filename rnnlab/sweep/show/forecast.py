"""How long a sweep may take: a few updates and evaluations of every arm are timed, and multiplied."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from statistics import median

from rnnlab.common.machine import usable_cores
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.samplers import MOST_LEARNING, learns
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.training.memory import most_members
from rnnlab.training.population import Population
from rnnlab.training.probing import Prober, probed_steps
from rnnlab.training.progress import Progress
from rnnlab.training.torch_settings import torch_settings

UPDATES = 8
"""That are timed of an arm."""
MEASURED_MEMBERS = 8
"""Runs that are timed together at most: more of them cost hardly less each."""
NO_LEARNING = 1e-12
"""Learning rate at which weights stay where they are."""
START_SECONDS = 8.0
"""From the command to the first run: imports, and the plan in the journal."""
STORE_SECONDS = 0.4
"""To store one run in MLflow and the journal and to pick up the next."""


@dataclass(frozen=True)
class Forecast:
    """What a whole sweep will cost, if every run uses its whole budget of updates.

    Attributes:
        definition: the sweep.
        workers: number of worker processes.
        run_seconds: time of one run of each study, in plan order.
    """

    definition: SweepDefinition
    workers: int
    run_seconds: tuple[float, ...]

    @property
    def runs(self) -> int:
        """Runs of each study."""
        return self.definition.search_runs + self.definition.seeds

    @property
    def seconds(self) -> float:
        """Estimated wall time: the work shared by the workers, and no less than what has to happen in sequence."""
        search, final = self.definition.search_trials, self.definition.seeds
        threads = max(typical(self.definition, plan).threads for plan in self.definition.studies)
        at_once = max(1, min(self.workers, usable_cores() // threads))
        work = sum(self.run_seconds) * self.runs / at_once
        rounds = math.ceil(search / at_once) * self.definition.search_seeds + math.ceil(final / at_once)
        return START_SECONDS + max(work, max(self.run_seconds) * rounds)

    def arm_seconds(self, arm: str) -> float:
        """Work of one arm on all tasks."""
        studies = zip(self.definition.studies, self.run_seconds, strict=True)
        return sum(seconds for plan, seconds in studies if plan.arm == arm) * self.runs

    @property
    def updates(self) -> int:
        """Training updates of all runs together."""
        return sum(typical(self.definition, plan).training.steps for plan in self.definition.studies) * self.runs

    @property
    def is_upper_bound(self) -> bool:
        """Whether runs may end before their budget of updates is spent."""
        configs = [typical(self.definition, plan) for plan in self.definition.studies]
        return self.definition.pruner != "none" or any(config.training.stop_when_solved for config in configs)


def forecast(
    definition: SweepDefinition, workers: int, measuring: Callable[[str], None] = lambda study: None
) -> Forecast:
    """Time every arm on the first task and the first arm on every task, and work the other studies out from these.

    Args:
        definition: the sweep.
        workers: number of worker processes.
        measuring: told the name of every study that is about to be timed.

    Raises:
        UserError: if data are missing.
    """
    first, studies = definition.studies[0], definition.studies
    timed = [plan for plan in studies if plan.arm == first.arm or plan.task == first.task]
    seconds: dict[str, float] = {}
    for plan in timed:
        measuring(plan.name)
        config = typical(definition, plan)
        together = min(MEASURED_MEMBERS, members(definition, config, workers))
        seconds[plan.name] = time_run(config, together)

    def expected(plan: StudyPlan) -> float:
        """What the first arm takes on this task, times how much more this arm takes than it on the first task."""
        arm, task = seconds[f"{first.task}/{plan.arm}"], seconds[f"{plan.task}/{first.arm}"]
        return task * arm / seconds[first.name] + STORE_SECONDS

    return Forecast(definition, workers, tuple(expected(plan) for plan in studies))


def typical(definition: SweepDefinition, plan: StudyPlan) -> Config:
    """The run of a study that is timed: everything searched at its last value, the high end of a range."""
    return plan.config({name: dimension.extremes()[-1] for name, dimension in plan.space.items()}, definition.seed)


def members(definition: SweepDefinition, config: Config, workers: int) -> int:
    """How many runs of a study a worker trains together at most; those of other studies may join them."""
    search = definition.search_trials
    share = math.ceil(
        max(min(search, MOST_LEARNING) if learns(definition.sampler) else search, definition.seeds) / workers
    )
    return min(share, definition.population or most_members(config))


def time_run(config: Config, together: int = 1) -> float:
    """Expected seconds of a whole run: a few updates of so many at once, an evaluation and a probe, each multiplied.

    Processor time of this thread is what counts, so that other processes do not blur it. The first of each is left
    out, because it warms up caches and compiles kernels.
    """
    changes = {  # what an update takes does not depend on the rate; how many there are before a run diverges does
        "optimizer.lr": NO_LEARNING,
        "training.steps": UPDATES + 2,
        "training.eval_every": UPDATES + 2,
        "recording.points": 0,
        "recording.probes": "light",
    }
    short = Config.parse(override(config.model_dump(mode="json"), changes))
    runs, population = [Progress(short) for _ in range(together)], Population(_pass_on)
    for run in runs:
        population.join(run)
    updates = [_seconds(population.advance) for _ in range(UPDATES + 1) if population.members]
    options, probed = config.training, probed_steps(config.recording, config.training.steps)
    with torch_settings(config.threads):
        evaluation, probe = [_seconds(runs[0].evaluate) for _ in range(2)], 0.0
        if probed:
            prober = Prober(config, runs[0].model, runs[0].noise, runs[0].chance)
            probe = _seconds(partial(prober.take, min(probed), runs[0].next_batch()))
    evaluations = math.ceil(options.steps / options.eval_every) + options.test_examples / options.eval_examples
    update = median(updates[1:] or updates) / together
    return options.steps * update + evaluations * evaluation[-1] + len(probed) * probe


def _pass_on(run: Progress, error: Exception | None) -> None:
    if error is not None:
        raise error


def _seconds(work: Callable[[], object]) -> float:
    began = time.thread_time()
    work()
    return time.thread_time() - began
