"""`rnnlab reproduce`: published results listed, run, checked, and written down."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted, signals_caught
from rnnlab.common.locks import FileLock
from rnnlab.common.output import Output
from rnnlab.common.text import duration, number
from rnnlab.reproductions.base import Reproduction, Training
from rnnlab.reproductions.page import circumstances, criteria_table, write_overview, write_page
from rnnlab.reproductions.registry import REPRODUCTIONS
from rnnlab.reproductions.run import EXPERIMENT, HOME, Evidence, carry_out, doubts, stored
from rnnlab.tracking.courier import Courier
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.store import prepare_store, tracking_uri
from rnnlab.tracking.undelivered import UNDELIVERED
from rnnlab.tracking.writer import end_parent, log_file, start_parent

PAGES = Path("runs/reports/reproductions")
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
        code = _run(chosen if name else _affordable(chosen, budget), output)
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
        table.add_column(column)
    findings = [stored(result) for result in results]
    for finding in findings:
        result = finding.result
        partly = f" ({len(finding.records)} of {len(result.runs)} runs)" if finding.records else ""
        state = finding.verdict if finding.complete else f"not run{partly}"
        cost = duration(finding.seconds) if finding.complete else f"about {duration(60 * result.minutes)}"
        table.add_row(result.name, result.paper.split(", ")[0], result.kind, state, cost)
    if output.plain:
        output.console().print(table)
    output.finish({"results": [_facts(finding) for finding in findings]})


def _check(results: Iterable[Reproduction], output: Output) -> int:
    found = {result.name: doubts(result) for result in results}
    wrong = [f"{name}, {line}" for name, lines in found.items() for line in lines]
    for line in wrong or ["everything stored belongs to the present code"]:
        output.console().print(line, markup=False, highlight=False, soft_wrap=True)
    output.finish({"doubts": found}, word="\n".join(wrong) or "fit")
    return 1 if wrong else 0


def _run(results: Sequence[Reproduction], output: Output) -> int:
    uri, console, findings, code = tracking_uri(), output.console(), [], 0
    for result in results:  # a mistake in one speaks up before any of them starts
        for arm, seed in result.runs:
            if isinstance(result.experiment, Training):
                result.experiment.config(arm, seed)
    prepare_store(uri)
    for result in results:
        try:
            finding, page, left = _run_one(result, uri, console)
        except UserError as error:  # such as missing data, which others do not need
            if len(results) == 1:
                raise
            console.print(f"{result.name} was left out: {error}", markup=False, highlight=False, soft_wrap=True)
            code = 2
            continue
        findings.append({**_facts(finding), "page": str(page)})
        code = code or (UNDELIVERED if left else 0)
        if output.plain:
            _show(finding, page, console)
    output.finish({"results": findings}, word="\n".join(f"{f['name']}: {f['verdict']}" for f in findings))
    return code


def _run_one(result: Reproduction, uri: str, console: Console) -> tuple[Evidence, Path, int]:
    outbox, lock = Outbox(HOME / result.name / "outbox"), FileLock(HOME / result.name / "lock")
    (HOME / result.name).mkdir(parents=True, exist_ok=True)
    if not lock.acquire(wait=False):
        raise UserError(f"another process runs {result.name}: wait for it, or stop it first")
    try:
        tags = {"rnnlab.kind": "reproduction", "rnnlab.reproduction": result.name}
        parent = start_parent(uri, EXPERIMENT, result.name, tags, result.claim)
        done, left = len(stored(result).records), 0
        with Courier(outbox, uri) as courier:
            try:
                with signals_caught(second_kills=True) as caught:
                    for arm, seed, record in carry_out(result, outbox, parent, lambda: bool(caught)):
                        done += 1
                        numbers = {key: value for key, value in record.values.items() if isinstance(value, float)}
                        said = ", ".join(f"{key} {number(value)}" for key, value in numbers.items())
                        line = f"{result.name}  {done}/{len(result.runs)}  {arm}, seed {seed}: {said}"
                        console.print(
                            f"{line} ({duration(record.seconds)})", markup=False, highlight=False, soft_wrap=True
                        )
            except Interrupted as interruption:
                console.print(f"{interruption}; the same command continues from there")
                raise SystemExit(130) from None
            left = courier.wait()
        finding = stored(result)
        page = write_page(finding, PAGES)
        for file in (page, page.with_suffix(".png")):
            if not left and file.exists():
                log_file(uri, parent, file)
        if not left:
            end_parent(uri, parent, {"rnnlab.verdict": finding.verdict})
        return finding, page, left
    finally:
        lock.release()


def _show(finding: Evidence, page: Path, console: Console) -> None:
    result = finding.result

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"\n{result.claim}\n{result.paper}; {result.place}\n")
    for statement, kind, published, measured, verdict in criteria_table(finding):
        say(f"  {statement} ({kind})\n    published {published}\n    measured  {measured}\n    {verdict}")
    say(f"\n{finding.verdict.upper()}  {circumstances(finding)}\nPage  {page}\n")


def _facts(finding: Evidence) -> dict[str, Any]:
    result = finding.result
    return {
        "name": result.name,
        "paper": result.paper,
        "claim": result.claim,
        "verdict": finding.verdict,
        "runs": {"done": len(finding.records), "planned": len(result.runs)},
        "seconds": finding.seconds,
        "minutes_expected": result.minutes,
        "criteria": [
            dict(zip(("statement", "kind", "published", "measured", "verdict"), row, strict=True))
            for row in criteria_table(finding)
        ],
    }
