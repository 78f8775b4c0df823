"""What a sweep is going to do and how long that may take, said before anything is started."""

import os
import textwrap
from collections.abc import Iterable

from rich.console import Console

from rnnlab.common.errors import UserError
from rnnlab.common.text import count, duration
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.factors import factors
from rnnlab.sweep.show.forecast import Forecast, forecast, members, typical
from rnnlab.sweep.show.power import power
from rnnlab.training.models import count_parameters


def print_forecast(definition: SweepDefinition, workers: int | None, console: Console) -> None:
    """Print what a sweep is going to do, measure, and print how long it may take.

    Raises:
        UserError: if there are no workers, or an arm cannot be measured.
    """
    workers = definition.workers if workers is None else workers
    if workers < 1:
        raise UserError(
            "workers = 0 leaves nobody whose time could be estimated: name as many as are going to join, such as "
            "--workers 8"
        )
    _print_plan(definition, workers, console)
    busy = os.getloadavg()[0]
    with console.status("") as spinner:
        expected = forecast(definition, workers, lambda study: spinner.update(f"measuring {study}"))
    for arm in definition.arms:
        _say(console, "measured", _arm(expected, arm))
    _say(console, "estimate", _estimate(expected))
    if busy > 1:
        _say(console, "", f"Other processes keep about {busy:.1f} cores busy: it takes longer while they do.")
    _say(console, "", "Nothing was started, nothing was written.")


def say_cost(definition: SweepDefinition, workers: int, console: Console) -> None:
    """Print what a sweep is going to cost, and what it cannot show at that, just before it starts."""
    try:
        expected = _estimate(forecast(definition, workers))
    except Exception as error:  # an arm that cannot be trained fails alone, later
        expected = f"unknown, as an arm cannot be measured ({type(error).__name__}: {error})"
    text = f"expected cost: {expected} (more with --dry-run)"
    enough, sentence = power(definition, len(definition.arms), definition.seeds)
    for line in (text,) if enough else (text, sentence):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


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
    _, sentence = power(definition, len(definition.arms), definition.seeds)
    if sentence:
        _say(console, "evidence", sentence)
    for factor in factors(definition):
        _say(console, factor.role, f"{factor.name}: {factor.values}".replace("`", ""))


def _arm(expected: Forecast, arm: str) -> str:
    """Sizes of an arm over the tasks, and what all of its runs take, one after the other."""
    configs = [typical(expected.definition, plan) for plan in expected.definition.studies if plan.arm == arm]
    width = _span(config.cell.hidden_size for config in configs)
    weights = _span(count_parameters(config) for config in configs)
    runs = expected.runs * len(configs)
    sizes = f"{arm}: width {width}, weights {weights}, {count(runs, 'run')} in {duration(expected.arm_seconds(arm))}"
    together = max(members(expected.definition, config, expected.workers) for config in configs)
    return f"{sizes}, up to {together} side by side" if together > 1 else sizes


def _span(sizes: Iterable[int]) -> str:
    low, high = (each(values) for values in [list(sizes)] for each in (min, max))
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"


def _estimate(expected: Forecast) -> str:
    """Work and wall time of a whole sweep."""
    runs = count(expected.runs * len(expected.run_seconds), "run")
    less = ", or less: runs may end before their budget of updates is spent" if expected.is_upper_bound else ""
    shared = count(expected.workers, "worker")
    return (
        f"{runs}, {expected.updates:,} updates, about {duration(expected.seconds)} with {shared} on this machine{less}"
    )


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
