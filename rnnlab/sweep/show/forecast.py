"""How long a sweep may take: a few updates and evaluations of every arm are timed, and multiplied."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from rnnlab.common.machine import usable_cores
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.samplers import MOST_LEARNING, learns
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.training.memory import most_members
from rnnlab.training.models import build_model
from rnnlab.training.population import Population
from rnnlab.training.probing import Prober, probed_steps
from rnnlab.training.progress import Progress
from rnnlab.training.torch_settings import torch_settings

MEASURING_SECONDS = 5.0
"""Wall time that all measurements share; each makes `FEWEST_UPDATES` whatever they take, and `MOST_UPDATES` at most."""
FEWEST_UPDATES, MOST_UPDATES = 4, 40
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
        seconds[plan.name] = time_run(config, MEASURING_SECONDS / len(timed), together)

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


def time_run(config: Config, seconds: float, together: int = 1) -> float:
    """Expected seconds of a whole run, from the medians of a few updates and evaluations.

    Processor time of the training thread is what counts, so that other processes do not blur it. The first update and
    the first evaluation are left out where there are more, because they warm up caches and compile kernels.

    Args:
        config: the run.
        seconds: wall time of the measurement at most, once the fewest updates are done.
        together: how many such runs train side by side.
    """
    began, marks = time.perf_counter(), [time.thread_time()]

    def stop() -> bool:
        marks.append(time.thread_time())
        updates = len(marks) - 1
        return updates >= MOST_UPDATES or (updates >= FEWEST_UPDATES and time.perf_counter() - began > seconds)

    run_together(probing_run(config), together, stop)
    intervals = [(after - before) / together for before, after in pairwise(marks)]
    update, evaluated = _median(intervals[0::2]), _median(intervals[1::2])
    options = config.training
    evaluations = math.ceil(options.steps / options.eval_every) + options.test_examples / options.eval_examples
    return options.steps * update + evaluations * max(0.0, evaluated - update) + time_probes(config)


def time_probes(config: Config) -> float:
    """Expected seconds of all probes of a run, from one of them."""
    probed = probed_steps(config.recording, config.training.steps)
    if not probed:
        return 0.0
    with torch_settings(config.threads):
        generator = make_generator(config.seed, "train")
        prober = Prober(config, build_model(config), generator, generator)
        batch = config.task.sample(generator, config.training.batch_size)
        began = time.thread_time()
        prober.take(min(probed), batch)
        return len(probed) * (time.thread_time() - began)


def run_together(config: Config, count: int, should_stop: Callable[[], bool]) -> None:
    """Train so many runs at once, until all are over or somebody says so after an update."""

    def end(member: Progress, error: Exception | None) -> None:
        if error is not None:
            raise error

    population = Population(end)
    for _ in range(count):
        population.join(Progress(config))
    while population.members:
        population.advance()
        if should_stop():
            return


def probing_run(config: Config) -> Config:
    """The same run with an evaluation after every second update, and nothing recorded."""
    changes = {
        # One more than is done: the last update of a run is followed by an evaluation whatever its number.
        "training.steps": MOST_UPDATES + 1,
        "training.eval_every": 2,
        "training.test_examples": 1,
        "training.stop_when_solved": False,
        "recording.points": 0,
        "recording.probes": "light",
        # What an update takes does not depend on the learning rate; how many there are before it diverges does.
        "optimizer.lr": NO_LEARNING,
    }
    return Config.parse(override(config.model_dump(mode="json"), changes))


def _median(seconds: list[float]) -> float:
    """The median but for the first, unless it is alone; a run that diverges at once may leave none."""
    return median(seconds[1:] or seconds or [0.0])
