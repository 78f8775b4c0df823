"""How long a sweep may take: every kind of work is timed for a moment, and added up."""

import itertools
import math
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from statistics import median

from rich.console import Console

from rnnlab.common.interrupts import Interrupted
from rnnlab.common.machine import usable_cores
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.space import Point, Space
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.training.loop import EVALUATION_CHUNK, recorded_steps, run

STUDY_SECONDS = 1.0
"""Longest time spent on one study, once every kind of work has been timed there."""
TOTAL_SECONDS = 20.0
"""After so long, a study is measured only if nothing else tells of its arm or its task."""
PROBING_UPDATES = 400
"""Updates that settle what an update takes where they are quick."""
NO_LEARNING = 1e-12
"""Learning rate at which weights stay where they are."""
START_SECONDS = 8.0
"""From the command to the first run: imports, and the plan in the journal."""
STORE_SECONDS = 1.0
"""To store one run in MLflow and the journal and to pick up the next."""


@dataclass(frozen=True)
class Costs:
    """Seconds that the parts of a run take on this machine, with nothing else of the sweep running.

    Attributes:
        update: one training update.
        recorded: one whose gradients are recorded.
        evaluation: one chunk of evaluation examples.
    """

    update: float
    recorded: float
    evaluation: float

    def run_seconds(self, config: Config) -> float:
        """Time of a whole run that uses its whole budget of updates; every chunk counts as a full one."""
        options = config.training
        recorded = len(recorded_steps(config.recording, options.steps))
        looks = math.ceil(options.steps / options.eval_every)
        validation, test = (math.ceil(examples / EVALUATION_CHUNK) for examples in _evaluated(config))
        chunks = looks * validation + test
        return (options.steps - recorded) * self.update + recorded * self.recorded + chunks * self.evaluation


@dataclass(frozen=True)
class StudyForecast:
    """What one arm on one task will cost.

    Attributes:
        plan: which.
        config: the point at which it was measured.
        costs: of its parts.
        measured: whether they were measured there, rather than worked out from its arm and its task elsewhere.
    """

    plan: StudyPlan
    config: Config
    costs: Costs
    measured: bool

    @property
    def run_seconds(self) -> float:
        return self.costs.run_seconds(self.config) + STORE_SECONDS


@dataclass(frozen=True)
class Forecast:
    """What a whole sweep will cost, if every run uses its whole budget of updates.

    Attributes:
        definition: the sweep.
        workers: number of worker processes.
        studies: its studies, in plan order.
    """

    definition: SweepDefinition
    workers: int
    studies: tuple[StudyForecast, ...]

    @property
    def runs(self) -> int:
        """Runs of each study."""
        return self.definition.search_runs + self.definition.seeds

    @property
    def seconds(self) -> float:
        """Estimated wall time: the work shared by the workers, and no less than what has to happen in sequence."""
        search, final = self.definition.search_trials, self.definition.seeds
        threads = max(study.config.threads for study in self.studies)
        at_once = max(1, min(self.workers, usable_cores() // threads))
        work = sum(study.run_seconds for study in self.studies) * self.runs / at_once
        slowest = max(study.run_seconds for study in self.studies)
        rounds = math.ceil(search / at_once) * self.definition.search_seeds + math.ceil(final / at_once)
        return START_SECONDS + max(work, slowest * rounds)

    @property
    def updates(self) -> int:
        """Training updates of all runs together."""
        return sum(study.config.training.steps for study in self.studies) * self.runs

    @property
    def is_upper_bound(self) -> bool:
        """Whether runs may end before their budget of updates is spent."""
        stops = any(study.config.training.stop_when_solved for study in self.studies)
        return stops or self.definition.pruner != "none"


def measure(config: Config, seconds: float = STUDY_SECONDS) -> Costs:
    """Time the parts of a run by training for a moment.

    The run that is timed alternates: recorded update, plain update, recorded update, plain update and evaluation. The
    first of each kind is left out where there are more, because it warms up caches and compiles kernels. Processor
    time of the training thread is what counts, so that other processes do not blur it.

    Args:
        config: the run.
        seconds: wall time at most; four updates and one evaluation are always done, unless the run diverges before.

    Returns:
        Medians of what was timed.
    """
    began, marks = time.perf_counter(), [time.thread_time()]

    def stop() -> bool:
        marks.append(time.thread_time())
        updates = len(marks) - 1
        return updates == PROBING_UPDATES or (updates >= 4 and time.perf_counter() - began > seconds)

    with suppress(Interrupted):
        run(probing_run(config), should_stop=stop)
    intervals = [after - before for before, after in itertools.pairwise(marks)]
    recorded, plain, evaluated = intervals[0::2], intervals[1::4], intervals[3::4]
    update = _typical(plain or recorded)
    return Costs(update, _typical(recorded), max(0.0, _typical(evaluated) - update) if evaluated else 0.0)


def probing_run(config: Config) -> Config:
    """The same run with every second update recorded from the first on, and an evaluation after every fourth."""
    changes = {
        # One more than is done: the last update of a run is followed by an evaluation whatever its number.
        "training.steps": PROBING_UPDATES + 1,
        "recording.points": PROBING_UPDATES // 2 + 1,
        "recording.spacing": "linear",
        "training.eval_every": 4,
        "training.eval_examples": min(EVALUATION_CHUNK, max(_evaluated(config))),
        "training.test_examples": 1,
        "training.stop_when_solved": False,
        # What an update takes does not depend on the learning rate; how many there are before it diverges does.
        "optimizer.lr": NO_LEARNING,
    }
    return Config.parse(override(config.model_dump(mode="json"), changes))


def forecast(
    definition: SweepDefinition,
    workers: int | None = None,
    console: Console | None = None,
    seconds: float = TOTAL_SECONDS,
) -> Forecast:
    """Measure every arm on every task for a moment, and add up.

    Dimensions of the search are measured at their last value, the high end of a range.

    Args:
        definition: the sweep.
        workers: number of worker processes; the definition's by default.
        console: where a terminal shows what is being measured.
        seconds: wall time after which the first arm is still measured on every task, and every arm on the first, from
            which the rest is worked out.

    Raises:
        UserError: if data are missing.
    """
    plans = definition.studies
    configs = {plan.name: plan.config(_typical_point(plan.space), definition.seed) for plan in plans}
    costs = _measure_each(plans, configs, console or Console(quiet=True), seconds)
    every = {plan.name: costs.get(plan.name) or _worked_out(plan, plans[0], costs) for plan in plans}
    studies = [StudyForecast(plan, configs[plan.name], every[plan.name], plan.name in costs) for plan in plans]
    return Forecast(definition, workers or definition.workers, tuple(studies))


def _typical_point(space: Space) -> Point:
    return {name: d.extremes()[-1] for name, d in space.items()}


def _measure_each(
    plans: Sequence[StudyPlan], configs: dict[str, Config], console: Console, seconds: float
) -> dict[str, Costs]:
    """Measure the first arm on every task and every arm on the first task, and others until time is up."""
    first = plans[0]
    needed = [plan for plan in plans if plan.arm == first.arm or plan.task == first.task]
    each = min(STUDY_SECONDS, seconds / len(plans), seconds / len(needed))
    costs: dict[str, Costs] = {}
    began = time.perf_counter()
    with console.status("") as spinner:
        for plan in [*needed, *(plan for plan in plans if plan not in needed)]:
            if plan not in needed and time.perf_counter() - began > seconds:
                break
            spinner.update(f"measuring {plan.name}")
            costs[plan.name] = measure(configs[plan.name], each)
    return costs


def _worked_out(plan: StudyPlan, first: StudyPlan, costs: dict[str, Costs]) -> Costs:
    """What the first arm takes on this task, times how much more this arm takes than the first on the first task."""
    places = ((plan.task, first.arm), (first.task, plan.arm), (first.task, first.arm))
    parts = zip(*(astuple(costs[f"{task}/{arm}"]) for task, arm in places), strict=True)
    return Costs(*(on_task * (of_arm / of_both if of_both else 1) for on_task, of_arm, of_both in parts))


def _evaluated(config: Config) -> tuple[int, int]:
    """Validation and test examples of one evaluation."""
    return config.training.eval_examples, config.training.test_examples


def _typical(seconds: Sequence[float]) -> float:
    """The median but for the first, unless it is alone."""
    return median(seconds[1:] or seconds)
