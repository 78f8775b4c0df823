"""Examine the claims: `python -m experiments.claims [NAME ...] [--seeds N] [--out FILE]`."""

import argparse
import importlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rnnlab.common.files import write_whole
from rnnlab.common.text import markdown_table

from .finding import Finding

CLAIMS = ("saturation", "batch_norm", "highway", "near_steps", "update_gate")


def main() -> None:
    """Examine the named claims, print each, and write those that are done to one page if asked."""
    parser = argparse.ArgumentParser(prog="python -m experiments.claims", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which claims: {', '.join(CLAIMS)}; all if none")
    parser.add_argument("--seeds", type=int, default=10, help="independent repetitions, at least 2 (10)")
    parser.add_argument("--out", type=Path, help="Markdown file to write")
    options = parser.parse_args()
    if unknown := set(options.names) - set(CLAIMS):
        parser.error(f"unknown claim {sorted(unknown)[0]!r}: choose from {', '.join(CLAIMS)}")
    if options.seeds < 2:
        parser.error(f"--seeds {options.seeds} gives no interval: use at least 2")
    pages: list[str] = []
    findings: list[Finding] = []
    for name in options.names or CLAIMS:
        began = time.monotonic()
        finding = importlib.import_module(f"{__package__}.{name}").examine(options.seeds)
        pages.append(f"## {name.replace('_', ' ').capitalize()}\n\n{finding.markdown()}")
        print(f"{pages[-1]}\n({time.monotonic() - began:.0f} s)\n", flush=True)
        findings.append(finding)
        if options.out is not None:  # after every claim: nothing is lost with one that fails
            command = " ".join(["python -m experiments.claims", *options.names, f"--seeds {options.seeds}"])
            write_whole(options.out, page_of(command, findings, pages).encode())


def page_of(command: str, findings: Sequence[Finding], pages: Sequence[str]) -> str:
    """All claims on one page, a table of verdicts first."""
    where = "what counts as support is in `experiments/claims`, a file a claim"
    words = "Q is a random orthogonal matrix; slopes are those of log10 of the gradient norm against lag."
    rows = [["Claim", "Verdict", "What does not hold"], *(finding.summary() for finding in findings)]
    intro = f"# Claims, examined\n\nWritten by `{command}`; {where}. {words}\n\n{markdown_table(rows)}\n"
    return "\n".join([intro, *pages])


if __name__ == "__main__":
    sys.exit(main())
