"""Print the speed of the compiled layers against torch.nn: `python -m benchmarks.layers [--write]`."""

import argparse
import multiprocessing
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.contestants import CASES, Case, contestants
from benchmarks.timing import Timing, gemm_rate, processor, take_turns, write_measured

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
GOALS = {"LSTM": 0.4, "GRU": 0.3, "RNN": 0.4}
THREAD_GOALS = {kind: f" (≤ {goal})" for kind, goal in GOALS.items()}
DENORMAL_GOALS = {"LSTM": " (≤ 0.15)", "GRU": "", "RNN": ""}
PAIR = ("recorded", "plain")

Timings = dict[str, Timing]


def measure(case: Case, flush: bool, threads: int, only: Sequence[str], budget: float) -> tuple[Timings, float]:
    """Time one case in a process of its own, where flags of the processor hold for every thread.

    Args:
        case: the sizes.
        flush: whether torch's layers too take subnormal numbers for zero.
        threads: threads of both.
        only: contestants to compare; all if empty.
        budget: seconds to spend, about.

    Returns:
        Timings by contestant, and the rate of large products right then.
    """
    with multiprocessing.get_context("spawn").Pool(1, _prepare, (flush, threads)) as pool:
        return pool.apply(_measure_here, (case, only, budget))


def _prepare(flush: bool, threads: int) -> None:
    torch.set_flush_denormal(flush)  # new threads take this over from the first
    torch.set_num_threads(threads)


def _measure_here(case: Case, only: Sequence[str], budget: float) -> tuple[Timings, float]:
    runs = contestants(case)
    return take_turns({name: runs[name] for name in only or runs}, budget), gemm_rate()


def full_row(case: Case, timings: Timings, rate: float) -> str:
    """One line of the main table."""
    ours, plain = timings["recorded"], timings["plain"]
    floor = case.recurrent_work / rate
    cells = [
        str(case),
        f"{ours.median * 1e3:.1f} ± {ours.spread:.0%}",
        f"{plain.median * 1e3:.1f} ± {plain.spread:.0%}",
        f"**{ours.median / plain.median:.2f}** (≤ {GOALS[case.kind]})",
        f"{ours.best / plain.best:.2f}",
        f"**{ours.median / timings['loop'].median:.2f}** (≤ 0.25)",
        f"{ours.median / floor:.2f}" + (" (≤ 1.6)" if case.H >= 100 else ""),
        f"{ours.median / timings['silent'].median:.2f} (≤ 1.03)",
    ]
    return f"| {' | '.join(cells)} |"


def pair_row(case: Case, timings: Timings, goal: str) -> str:
    """One line of the other tables."""
    ours, plain = timings["recorded"].median, timings["plain"].median
    return f"| {case} | {ours * 1e3:.1f} | {plain * 1e3:.1f} | **{ours / plain:.2f}**{goal} |"


def tables(cases: Sequence[Case], budget: float) -> str:
    """All three tables as Markdown, printed line by line as they come.

    Args:
        cases: what to compare.
        budget: seconds a case.
    """
    lines: list[str] = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    threads = torch.get_num_threads()
    say(f"{processor()}, {threads} threads, torch {torch.__version__}.")
    say(
        "Medians of one forward and backward pass, ± the distance between the quartiles; goals in brackets; best: of "
        "the fastest rounds. The floor is the time of the three recurrent products at the rate of a large torch.mm."
    )
    say(
        "\n| case | ours, ms | torch.nn, ms | of torch.nn | best | of a cell loop | of the floor | recording on / off |"
    )
    say("|---|---|---|---|---|---|---|---|")
    for case in cases:
        say(full_row(case, *measure(case, flush=True, threads=threads, only=(), budget=budget)))
    for title, flush, count, goals in (
        ("The same on one thread, which is what a training run takes by default", True, 1, THREAD_GOALS),
        (f"{threads} threads, torch as it comes: subnormal numbers are not flushed", False, threads, DENORMAL_GOALS),
    ):
        say(f"\n{title}:\n\n| case | ours, ms | torch.nn, ms | of torch.nn |\n|---|---|---|---|")
        for case in cases:
            timings, _ = measure(case, flush, count, PAIR, budget)
            say(pair_row(case, timings, goals[case.kind]))
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the comparison."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"write docs/{PAGE.name} too")
    parser.add_argument("--only", default="", help="cases whose name contains this, such as 'LSTM T=784'")
    parser.add_argument("--seconds", type=float, default=10.0, help="to spend on each case, about")
    chosen = parser.parse_args(arguments)
    cases = [case for case in CASES if chosen.only in str(case)]
    if not cases:
        sys.exit(f"error: --only {chosen.only!r} fits no case: choose part of {', '.join(map(str, CASES))}")
    measured = tables(cases, chosen.seconds)
    if chosen.write:
        write_measured(PAGE, measured)


if __name__ == "__main__":
    main()
