"""What a sweep is going to do and how long that may take, said before anything is started."""

import itertools
import math
import os
import textwrap
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnlab.config import Config, override
from rnnlab.doctor import usable_cores
from rnnlab.sweep.definition import StudyPlan, SweepDefinition
from rnnlab.sweep.factors import factors
from rnnlab.sweep.numbers import count, duration, number
from rnnlab.training.loop import EVALUATION_CHUNK, Interrupted, recorded_steps, run

STUDY_SECONDS = 1.0
"""Longest time spent on one study, once every kind of work has been timed there."""
TOTAL_SECONDS = 20.0
"""After so long, a study is measured only if its task has not been met before."""
PROBING_UPDATES = 400
"""Updates that settle what an update takes where they are quick."""
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
        measured: whether they were measured there, rather than taken from the slowest arm measured on its task.
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
    """What a whole sweep will cost.

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
    }
    return Config.parse(override(config.model_dump(mode="json"), changes))


def forecast(definition: SweepDefinition, workers: int | None = None, console: Console | None = None) -> Forecast:
    """Measure every arm on every task for a moment, and add up.

    Dimensions of the search that set a size are measured at their last value, the high end of a range; the learning
    rate and its like, which do not matter to speed, at their low end, where nothing diverges.

    Args:
        definition: the sweep.
        workers: number of worker processes; the definition's by default.
        console: where a terminal shows what is being measured.

    Raises:
        UserError: if data are missing.
    """
    point = {name: d.extremes()[0 if name.startswith("optimizer.") else -1] for name, d in definition.search.items()}
    plans = definition.plan()
    configs = {plan.name: plan.config(point, definition.seed) for plan in plans}
    costs = _measure_each(plans, configs, console or Console(quiet=True))
    measured = [plan for plan in plans if plan.name in costs]
    slowest = {plan.task: costs[plan.name] for plan in sorted(measured, key=lambda plan: costs[plan.name].update)}
    studies = [
        StudyForecast(plan, configs[plan.name], costs.get(plan.name, slowest[plan.task]), plan.name in costs)
        for plan in plans
    ]
    return Forecast(definition, workers or definition.workers, tuple(studies))


def print_forecast(definition: SweepDefinition, workers: int | None, console: Console) -> None:
    """Print what a sweep is going to do, measure, and print how long it may take: a table in a terminal, else lines."""
    _print_plan(definition, workers or definition.workers, console)
    busy = os.getloadavg()[0]
    expected = forecast(definition, workers, console)
    if console.is_terminal:
        console.print(_table(expected))
    else:
        for study in expected.studies:
            cells = zip(_columns(expected), _cells(study, expected), strict=True)
            _say(console, "measured", f"{study.plan.name}: {', '.join(f'{name} {cell}' for name, cell in cells)}")
    if not all(study.measured for study in expected.studies):
        _say(console, "", "A dash was not measured, to save time: taken for as slow as the slowest arm on its task.")
    shared = count(expected.workers, "worker")
    less = "; less where runs end before their budget of updates is spent" if expected.is_upper_bound else ""
    _say(console, "estimate", f"about {duration(expected.seconds)} with {shared} on this machine{less}")
    if busy > 1:
        _say(console, "", f"Other processes keep about {busy:.1f} cores busy: it takes longer while they do.")
    _say(console, "", "Nothing was started, nothing was written.")


def _print_plan(definition: SweepDefinition, workers: int, console: Console) -> None:
    arms, tasks = len(definition.arms), len(definition.tasks)
    search, final, seeds = definition.search_trials, definition.seeds, definition.search_seeds
    several = f" of {seeds} seeds" if seeds > 1 else ""
    each = f"({count(search, 'search trial')}{several} + {count(final, 'final run')})"
    runs = arms * tasks * (definition.search_runs + final)
    _say(console, "sweep", f"{definition.name}: {definition.question}".rstrip(": "))
    _say(
        console,
        "planned",
        f"{count(arms, 'arm')} × {count(tasks, 'task')} × {each} = {count(runs, 'run')}, "
        f"{definition.sampler} sampler, {definition.pruner.replace('none', 'no')} pruner, {count(workers, 'worker')}",
    )
    for factor in factors(definition):
        _say(console, factor.role, f"{factor.name}: {factor.values}".replace("`", ""))


def _table(expected: Forecast) -> Table:
    """One row an arm, task by task."""
    tasks = list(dict.fromkeys(study.plan.task for study in expected.studies))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("measured now", no_wrap=True, overflow="ellipsis", max_width=24)
    for name in _columns(expected):
        table.add_column(name, justify="right", no_wrap=True)
    for task in tasks:
        table.add_row(Text(task, style="bold"))
        for study in [study for study in expected.studies if study.plan.task == task]:
            table.add_row(f"  {study.plan.arm}", *_cells(study, expected))
    return table


def _columns(expected: Forecast) -> list[str]:
    return ["update", "recorded", "evaluation", "≈ a run", f"≈ {expected.runs} runs"]


def _cells(study: StudyForecast, expected: Forecast) -> list[str]:
    costs = (study.costs.update, study.costs.recorded, study.costs.evaluation)
    times = [f"{number(1000 * cost, 2)} ms" if study.measured else "–" for cost in costs]
    return [*times, duration(study.run_seconds), duration(study.run_seconds * expected.runs)]


def _measure_each(plans: list[StudyPlan], configs: dict[str, Config], console: Console) -> dict[str, Costs]:
    """Measure arm by arm through all tasks, so that every task is met early; leave out the rest once time is up."""
    arms = list(dict.fromkeys(plan.arm for plan in plans))
    each = min(STUDY_SECONDS, TOTAL_SECONDS / len(plans))
    costs: dict[str, Costs] = {}
    met: set[str] = set()
    began = time.perf_counter()
    with console.status("") as spinner:
        for plan in sorted(plans, key=lambda plan: arms.index(plan.arm)):
            if plan.task in met and time.perf_counter() - began > TOTAL_SECONDS:
                continue
            met.add(plan.task)
            spinner.update(f"measuring {plan.name}")
            costs[plan.name] = measure(configs[plan.name], each)
    return costs


def _say(console: Console, label: str, text: str) -> None:
    """Print a text beside its label, wrapped in a terminal and on one line elsewhere."""
    indent = " " * 12
    width = console.width if console.is_terminal else len(indent) + len(text) + 1
    lines = textwrap.fill(
        text,
        width,
        initial_indent=f"{label:<12}",
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    console.print(lines, markup=False, highlight=False, soft_wrap=True)


def _evaluated(config: Config) -> tuple[int, int]:
    """Validation and test examples of one evaluation."""
    return config.training.eval_examples, config.training.test_examples


def _typical(seconds: Sequence[float]) -> float:
    """The median but for the first, unless it is alone."""
    return median(seconds[1:] or seconds)
