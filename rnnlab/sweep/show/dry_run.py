"""What a sweep is going to do and how long that may take, said before anything is started."""

import os
import textwrap
import time

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from rnnlab.common.text import count, duration, number
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.factors import factors
from rnnlab.sweep.show.forecast import Forecast, StudyForecast, forecast
from rnnlab.training.models import count_parameters

MOMENT_SECONDS = 2.0
"""Time for an estimate that nobody asked for; what has to be measured is measured, however long it takes."""


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
        _say(console, "", "A dash was not measured, to save time: worked out from its arm and its task elsewhere.")
    _say(console, "estimate", _estimate(expected))
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


def say_cost(definition: SweepDefinition, workers: int, console: Console) -> None:
    """Print in one line what a sweep is going to cost, measured in a moment, just before it starts."""
    began = time.perf_counter()
    try:
        expected = _estimate(forecast(definition, workers, seconds=MOMENT_SECONDS))
    except Exception as error:  # an arm that cannot be trained fails alone, later
        expected = f"unknown, as an arm cannot be measured ({type(error).__name__}: {error})"
    took = duration(time.perf_counter() - began)
    text = f"expected cost: {expected} (estimated in {took}; more with --dry-run)"
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _estimate(expected: Forecast) -> str:
    """Work and wall time of a whole sweep."""
    runs = count(expected.runs * len(expected.studies), "run")
    less = ", or less: runs may end before their budget of updates is spent" if expected.is_upper_bound else ""
    shared = count(expected.workers, "worker")
    return (
        f"{runs}, {expected.updates:,} updates, about {duration(expected.seconds)} with {shared} on this machine{less}"
    )


def _table(expected: Forecast) -> Table:
    """One row an arm, task by task."""
    tasks = list(dict.fromkeys(study.plan.task for study in expected.studies))
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("measured now", no_wrap=True, overflow="ellipsis", max_width=17)
    for name in _columns(expected):
        table.add_column(name, justify="right", no_wrap=True)
    for task in tasks:
        table.add_row(Text(task, style="bold"))
        for study in [study for study in expected.studies if study.plan.task == task]:
            table.add_row(f"  {study.plan.arm}", *_cells(study, expected))
    return table


def _columns(expected: Forecast) -> list[str]:
    return ["width", "weights", "update", "recorded", "eval", "≈ a run", f"≈ {expected.runs} runs"]


def _cells(study: StudyForecast, expected: Forecast) -> list[str]:
    costs = (study.costs.update, study.costs.recorded, study.costs.evaluation)
    times = [f"{number(1000 * cost, 2)} ms" if study.measured else "–" for cost in costs]
    sizes = [str(study.config.cell.hidden_size), f"{count_parameters(study.config):,}"]
    return [*sizes, *times, duration(study.run_seconds), duration(study.run_seconds * expected.runs)]


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
