"""What a result says of itself, as Markdown with its figure; and the page of all results."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rnnlab.common.files import write_whole
from rnnlab.common.text import count, duration, interval
from rnnlab.reproductions.run import Evidence
from rnnlab.tracking.provenance import named_code

INTRO = """# Published results, reproduced

Written by `rnnlab reproduce --out docs/reproductions.md`. A result is a file in `rnnlab/reproductions/`, which says
what must hold, with its tolerance, before the seeds that decide are run. Verdicts: **reproduced**, where every
statement passes its test at 5% (two one-sided tests for a level or an exponent, a permutation test over seeds for an
ordering, rounding for a law); **contradicted**, where one fails it the other way; **inconclusive** in between;
**not run**. Published and measured numbers, machines and figures stand below. Times are those of one thread on a core
that others used too. [How to add one](adding-a-reproduction.md).
"""


def write_page(finding: Evidence, folder: Path) -> Path:
    """Write the page of one result and its figure.

    Args:
        finding: what is known of it.
        folder: gets NAME.md and, where anything was run, NAME.png.

    Returns:
        The page.
    """
    path = folder / f"{finding.result.name}.md"
    _draw(finding, folder)
    write_whole(path, f"# {finding.result.name}\n\n{_body(finding, '')}".encode())
    return path


def write_overview(findings: Sequence[Evidence], path: Path) -> Path:
    """Write the page of all results; figures go to a folder of its name beside it.

    What an earlier page says of a result stays there while the result has not been run whole here: a fresh clone adds
    to the page of others, and takes nothing away.

    Args:
        findings: one a result.
        path: of the page.

    Returns:
        The page.
    """
    rows = ["| Result | Paper | Claim | Verdict | Time | Commit |", "| --- | --- | --- | --- | --- | --- |"]
    parts = []
    earlier = path.read_text(encoding="utf-8") if path.exists() else ""
    for finding in findings:
        result = finding.result
        if not finding.complete and (told := _told(finding, earlier)):
            rows.append(told[0])
            parts.append(told[1])
            continue
        spent = duration(finding.seconds) if finding.complete else f"about {duration(60 * result.minutes)}"
        paper = result.paper.partition(", ")[0]
        made = _code(finding).removeprefix("commit ")
        cells = (f"[{result.name}](#{result.name})", paper, result.claim, finding.verdict, spent, made)
        rows.append(f"| {' | '.join(cells)} |")
        _draw(finding, path.parent / path.stem)
        parts.append(f"## {result.name}\n\n{_body(finding, f'{path.stem}/')}")
    write_whole(path, "\n".join([INTRO, *rows, "", *parts]).encode())
    return path


def _told(finding: Evidence, page: str) -> tuple[str, str] | None:
    """Row and section of a result on an earlier page, if it claims there what it claims now."""
    name = re.escape(finding.result.name)
    row = re.search(rf"^\| \[{name}\]\(#{name}\) \|.*$", page, re.MULTILINE)
    section = re.search(rf"^## {name}\n.*?(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    if row is None or section is None or "**Not run.**" in section[0]:
        return None
    claims = [f"{finding.result.claim} (", *(f"| {' | '.join(line[:3])} |" for line in criteria_table(finding))]
    return (row[0], section[0].rstrip() + "\n") if all(claim in section[0] for claim in claims) else None


def criteria_table(finding: Evidence) -> list[tuple[str, str, str, str, str]]:
    """Statement, kind, published, measured with its interval, and verdict of every criterion."""
    rows = []
    for criterion, decision in zip(finding.result.criteria, finding.decisions, strict=True):
        verdict = decision.verdict
        if verdict == "inconclusive":
            verdict += f": {decision.seeds} seeds would do" if decision.seeds else ": no number of seeds would do"
        rows.append((criterion.statement, criterion.kind, criterion.published, interval(*decision.measured), verdict))
    return rows


def circumstances(finding: Evidence) -> str:
    """Where and with which code the runs were made, in a sentence."""
    machines = sorted({record.cpu for record in finding.records.values()})
    runs = f"{count(len(finding.records), 'run')} in {duration(finding.seconds)}"
    return f"{runs} on {', '.join(machines)}, {_code(finding)}"


def _code(finding: Evidence) -> str:
    return named_code(record.commit for record in finding.records.values())


def _draw(finding: Evidence, folder: Path) -> None:
    if finding.complete:
        from rnnlab.plots.style import save  # late: a list of results draws nothing

        folder.mkdir(parents=True, exist_ok=True)
        save(finding.result.draw(finding.values), folder / f"{finding.result.name}.png")


def _body(finding: Evidence, pictures: str) -> str:
    result = finding.result
    lines = [
        f"{result.claim} ({result.paper}; {result.place}, read in {result.source}.)",
        "",
        "| Must hold | Kind | Published | Measured | Verdict |",
        "| --- | --- | --- | --- | --- |",
        *(f"| {' | '.join(row)} |" for row in criteria_table(finding)),
        "",
        *(f"* Tolerance of {c.quantity}: {c.why}" for c in {c.why: c for c in result.criteria}.values()),
        f"* Command: `rnnlab reproduce {result.name}`.",
        f"* Seeds: {result.seeds}, from {result.first_seed}; settings were chosen on others.",
    ]
    if result.scaled_down:
        lines.append(f"* Scaled down: {result.scaled_down}")
    if result.faults:
        lines.append(f"* Faults that change the verdict: {'; '.join(fault.name for fault in result.faults)}.")
    if finding.complete:
        lines += [f"* {circumstances(finding)}.", "", f"**{finding.verdict.capitalize()}.**", ""]
        lines += [f"![{result.place}]({pictures}{result.name}.png)", ""]
    else:
        lines += [
            f"* {count(len(finding.records), 'run')} of {len(result.runs)} done; about "
            f"{duration(60 * result.minutes)} in all.",
            "",
            "**Not run.**",
            "",
        ]
    return "\n".join(lines)


def facts(finding: Evidence) -> dict[str, Any]:
    """What is known of a result, for programs."""
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
