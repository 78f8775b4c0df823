"""`rnnlab reproduce NAME`: published results, run and stored."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from rnnlab.commands.stored import held, resumable
from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import signals_caught
from rnnlab.common.output import Output
from rnnlab.common.text import duration, number
from rnnlab.reproductions.base import Reproduction, Training
from rnnlab.reproductions.page import circumstances, criteria_table, facts, write_page
from rnnlab.reproductions.run import EXPERIMENT, HOME, Evidence, carry_out, stored
from rnnlab.tracking.courier import Courier
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.store import prepare_store, tracking_uri
from rnnlab.tracking.undelivered import UNDELIVERED
from rnnlab.tracking.writer import end_parent, log_file, start_parent

PAGES = Path("runs/reports/reproductions")


def run_results(results: Sequence[Reproduction], output: Output) -> int:
    """Run what is missing of results, one after the other, and write their pages.

    Args:
        results: which.
        output: how much to say.

    Returns:
        The exit code: 0, 2 where one of several results cannot be run, 4 where MLflow has not taken every run.
    """
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
        findings.append({**facts(finding), "page": str(page)})
        code = code or (UNDELIVERED if left else 0)
        if output.plain:
            _show(finding, page, console)
    output.finish({"results": findings}, word="\n".join(f"{f['name']}: {f['verdict']}" for f in findings))
    return code


def _run_one(result: Reproduction, uri: str, console: Console) -> tuple[Evidence, Path, int]:
    folder = HOME / result.name
    with held(folder, result.name):
        tags = {"rnnlab.kind": "reproduction", "rnnlab.reproduction": result.name}
        parent = start_parent(uri, EXPERIMENT, result.name, tags, result.claim)
        outbox = Outbox(folder / "outbox")
        with Courier(outbox, uri) as courier:
            with resumable(console), signals_caught(second_kills=True) as caught:
                _carry_out(result, outbox, parent, console, lambda: bool(caught))
            left = courier.wait()
        finding = stored(result)
        page = write_page(finding, PAGES)
        for file in (page, page.with_suffix(".png")):
            if not left and file.exists():
                log_file(uri, parent, file)
        if not left:
            end_parent(uri, parent, {"rnnlab.verdict": finding.verdict})
        return finding, page, left


def _carry_out(
    result: Reproduction, outbox: Outbox, parent: str, console: Console, should_stop: Callable[[], bool]
) -> None:
    """Run what is missing, and say a line of each run."""
    done = len(stored(result).records)
    for arm, seed, record in carry_out(result, outbox, parent, should_stop):
        done += 1
        numbers = {key: value for key, value in record.values.items() if isinstance(value, float)}
        said = ", ".join(f"{key} {number(value)}" for key, value in numbers.items())
        line = f"{result.name}  {done}/{len(result.runs)}  {arm}, seed {seed}: {said}"
        console.print(f"{line} ({duration(record.seconds)})", markup=False, highlight=False, soft_wrap=True)


def _show(finding: Evidence, page: Path, console: Console) -> None:
    result = finding.result

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(f"\n{result.claim}\n{result.paper}; {result.place}\n")
    for statement, kind, published, measured, verdict in criteria_table(finding):
        say(f"  {statement} ({kind})\n    published {published}\n    measured  {measured}\n    {verdict}")
    say(f"\n{finding.verdict.upper()}  {circumstances(finding)}\nPage  {page}\n")
