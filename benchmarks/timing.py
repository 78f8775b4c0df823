"""Fair timing: contestants take turns, so that whatever disturbs the machine disturbs them alike."""

import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant over all rounds.

    Attributes:
        seconds: one entry a round.
    """

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median, in seconds."""
        return statistics.median(self.seconds)

    @property
    def best(self) -> float:
        """The round least disturbed, in seconds."""
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """Distance between the quartiles over the median."""
        if len(self.seconds) < 3:
            return float("nan")
        low, _, high = statistics.quantiles(self.seconds, n=4)
        return (high - low) / self.median


def take_turns(contestants: Mapping[str, Callable[[], object]], budget: float, most: int = 30) -> dict[str, Timing]:
    """Time contestants round by round, each after an untimed run of its own, which fills caches and pools.

    Args:
        contestants: what to run, by name.
        budget: seconds to spend, about; at least five rounds are run.
        most: rounds that are enough.

    Returns:
        Timings by name, warm-up left out.
    """
    for run in contestants.values():
        run()
    start = time.perf_counter()
    for run in contestants.values():
        run()
    rounds = max(5, min(most, int(budget / 2 / (time.perf_counter() - start))))
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            run()
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}


def gemm_rate(size: int = 1536) -> float:
    """Multiplications and additions a second that torch reaches on a large float32 product: the best of ten."""
    a, b, out = torch.randn(size, size), torch.randn(size, size), torch.empty(size, size)
    best = float("inf")
    for _ in range(10):
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        best = min(best, time.perf_counter() - start)
    return 2 * size**3 / best


def write_measured(document: Path, table: str, name: str | None = None) -> None:
    """Put a table between the marks of a page.

    Args:
        document: the page.
        table: what was measured.
        name: of the mark, as in `<!-- name -->`, before `<!-- end -->`; without one it is what torch uses of the
            processor, `AVX2` or `AVX512`, so that a page holds the tables of both.
    """
    mark = f"<!-- {name or torch.backends.cpu.get_cpu_capability()} -->\n"
    before, found, rest = document.read_text().partition(mark)
    if not found:
        sys.exit(f"error: {document} has no place for this table: add the lines {mark.strip()} and <!-- end -->")
    _, _, after = rest.partition("<!-- end -->\n")
    document.write_text(f"{before}{mark}{table}\n<!-- end -->\n{after}")


def processor() -> str:
    """The processor's name and what torch uses of it."""
    info = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else platform.machine()} ({torch.backends.cpu.get_cpu_capability()})"
