"""Holds two sweeps against each other in the terminal."""

import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import typer
from rich import box
from rich.console import Console
from rich.table import Table

from rnnlab.common.output import Output
from rnnlab.common.text import chance, interval, median, number
from rnnlab.report.comparison import Comparison, compare
from rnnlab.report.comparison_page import alone, answer, repeats, unlike, write_comparison
from rnnlab.report.comparison_tables import named
from rnnlab.statistics.two_sweeps import A, B
from rnnlab.tracking.store import tracking_uri

MOST_CHANGED = 5
"""Runs with another result that a terminal lists."""


def compare_sweeps(a: str, b: str, out: Path | None, store_b: str | None, output: Output) -> None:
    """Hold two sweeps against each other, print what comes of it, and write the page if a folder is given for it."""
    comparison = compare(a, b, tracking_uri(), tracking_uri(store_b))
    if output.plain:
        print_comparison(comparison, output.console())
    page = str(write_comparison(comparison, out)) if out else None
    if output.plain and page:
        typer.echo(f"\nPage  {page}")
    output.finish({**as_dict(comparison), "page": page})


def print_comparison(comparison: Comparison, console: Console) -> None:
    """Print what two sweeps come to beside each other, what is most in need of an explanation first."""

    def say(markdown: str) -> None:
        plain = re.sub(r"\*\*|`|(?<!\w)\*|\*(?!\w)", "", markdown)
        console.print(plain, markup=False, highlight=False, soft_wrap=not console.is_terminal)

    say(f"A  {comparison.a.where}\nB  {comparison.b.where}")
    say(repeats(comparison))
    for row in comparison.changed.head(MOST_CHANGED).to_dict("records"):
        scores = f"{row['score_a']:.10g} and {row['score_b']:.10g}"
        say(f"  {row['task']}/{row['arm']}, {named(row)}: {', '.join(row['differs'])}; scores {scores}")
    for label, rows in comparison.contrasts.groupby("task", sort=False):
        sides = comparison.sides.loc[comparison.sides["task"] == label]
        console.print(_table(rows, sides))
        say(answer(rows))
    say("")
    for difference in comparison.differences:
        where = "" if difference.where in ("the sweep", "everywhere") else f" ({difference.where})"
        say(f"{difference.name}: {difference.a} in A, {difference.b} in B{where}")
    if not comparison.differences:
        say(unlike(comparison))
    for sentence in alone(comparison):
        say(sentence)
    for name, one, other in comparison.made_by:
        if one != other:
            say(f"{name}: {one} in A, {other} in B")
    for caution in comparison.cautions:
        say(f"caution: {caution}")


def _table(contrasts: pd.DataFrame, sides: pd.DataFrame) -> Table:
    """The arms of one task, two lines an arm."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.title, table.title_justify, table.title_style = f"\n{contrasts['task'].iloc[0]}", "left", "bold"
    table.add_column("arm", no_wrap=True, overflow="ellipsis", max_width=18)
    table.add_column("")
    for name in (str(sides["score_name"].iloc[0]), "solved", "solved in", "decay"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("B better by [95%]", justify="right")  # the only one that may stand on two lines
    table.add_column("p (Holm)", justify="right", no_wrap=True)
    by_side = {(row["arm"], row["side"]): row for row in sides.to_dict("records")}
    for row in contrasts.to_dict("records"):
        gain = interval(row["difference"], row["difference_low"], row["difference_high"])
        table.add_row(row["arm"], A, *_numbers(by_side[row["arm"], A]))
        table.add_row("", B, *_numbers(by_side[row["arm"], B]), gain, chance(row["p_task"]))
    return table


def _numbers(side: dict[Any, Any]) -> list[str]:
    """What an arm comes to in one of the sweeps."""
    steps = median(side["steps_to_solve"], math.nan, math.nan, side["updates"])
    solved = f"{side['solved']}/{side['seeds']}"
    return [number(side["score"]), solved, steps, number(side["decay_rate"])]


def as_dict(comparison: Comparison) -> dict[str, Any]:
    """A comparison as primitives."""
    return {
        "a": comparison.a.where,
        "b": comparison.b.where,
        "repeated": len(comparison.repeats),
        "changed": comparison.changed.to_dict("records"),
        "contrasts": comparison.contrasts.to_dict("records"),
        "sides": comparison.sides.to_dict("records"),
        "differences": [difference._asdict() for difference in comparison.differences],
        "alone": alone(comparison),
        "made_by": {name: {"a": one, "b": other} for name, one, other in comparison.made_by},
        "cautions": comparison.cautions,
    }
