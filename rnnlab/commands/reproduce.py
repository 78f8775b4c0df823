"""`rnnlab reproduce`: published results listed, run, checked, and written down."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.table import Table

from rnnlab.common.errors import UserError
from rnnlab.common.output import Output
from rnnlab.common.text import duration
from rnnlab.reproductions.base import Reproduction
from rnnlab.reproductions.page import facts, write_overview
from rnnlab.reproductions.registry import REPRODUCTIONS
from rnnlab.reproductions.run import doubts, stored

UNITS = {"s": 1, "m": 60, "h": 3600}


def reproduce(name: str | None, every: bool, budget: str | None, check: bool, out: Path | None, output: Output) -> int:
    """List, run or check results.

    Args:
        name: one result; none lists all of them.
        every: run all but those of full scale.
        budget: time that all of it may take, such as 2h; the cheapest come first.
        check: test whether what is stored belongs to the present code.
        out: file for the page of all results.
        output: how much to say.

    Returns:
        The exit code: 0, 1 where `check` finds something, 2 where one of several results cannot be run, 4 where MLflow
        has not taken every run.
    """
    if name and every:
        raise UserError(f"--all runs every result, and {name} is one of them: leave out one of the two")
    if budget and not every:
        raise UserError("--budget is for --all: add it")
    chosen = [REPRODUCTIONS.find(name)] if name else list(REPRODUCTIONS.values())
    if check:
        return _check(chosen, output)
    code = 0
    if name or every:
        from rnnlab.commands.reproduce_run import run_results  # late: it brings MLflow

        code = run_results(chosen if name else _affordable(chosen, budget), output)
    else:
        _list(chosen, output)
    if out is not None:
        write_overview([stored(result) for result in REPRODUCTIONS.values()], out)
    return code


def seconds_of(budget: str) -> float:
    """Read a time span such as 90s, 30m or 2h."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", budget)
    if found is None:
        raise UserError(f"--budget = '{budget}' is not allowed: give a number with s, m or h, such as 2h")
    return float(found[1]) * UNITS[found[2]]


def _affordable(results: Iterable[Reproduction], budget: str | None) -> list[Reproduction]:
    """Those that are not done and fit, the cheapest first."""
    left = seconds_of(budget) if budget else float("inf")
    fitting = []
    open_ones = [result for result in results if not result.full_scale and not stored(result).complete]
    for result in sorted(open_ones, key=lambda result: result.minutes):
        if 60 * result.minutes <= left:
            left -= 60 * result.minutes
            fitting.append(result)
    return fitting


def _list(results: Sequence[Reproduction], output: Output) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("result", "paper", "kind", "state", "time"):
        table.add_column(column, no_wrap=column == "result")  # a name that is cut could not be copied
    findings = [stored(result) for result in results]
    for finding in findings:
        result = finding.result
        partly = f" ({len(finding.records)} of {len(result.runs)} runs)" if finding.records else ""
        state = finding.verdict if finding.complete else f"not run{partly}"
        cost = duration(finding.seconds) if finding.complete else f"about {duration(60 * result.minutes)}"
        table.add_row(result.name, result.paper.split(", ")[0], result.kind, state, cost)
    if output.plain:
        output.console().print(table)
    output.finish({"results": [facts(finding) for finding in findings]})


def _check(results: Iterable[Reproduction], output: Output) -> int:
    found = {result.name: doubts(result) for result in results}
    wrong = [f"{name}, {line}" for name, lines in found.items() for line in lines]
    for line in wrong or ["everything stored belongs to the present code"]:
        output.console().print(line, markup=False, highlight=False, soft_wrap=True)
    output.finish({"doubts": found}, word="\n".join(wrong) or "fit")
    return 1 if wrong else 0
