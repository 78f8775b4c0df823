"""What `rnnlab doctor` says of runs that train together: how many a worker takes, and what that saves."""

import functools
import time
from collections.abc import Callable
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rnnlab.config.config import Config
    from rnnlab.training.progress import Progress

EXPERIMENT, MEMBERS = "adding", 8
QUIET = ("training.steps=1000000", "training.eval_every=1000000", "recording.points=0")
"""Updates alone."""
SECONDS, ROUNDS = 0.5, 10
"""To spend on looking, and looks that are enough."""


def describe() -> str:
    """One clause about the shipped experiment `adding`, which is tried alone and in company."""
    from rnnlab.config.config import load_config
    from rnnlab.training.memory import CACHE, MOST_MEMBERS, most_members

    most = most_members(load_config(EXPERIMENT))
    alone, among = (1e3 * seconds for seconds in cost())
    return (
        f"a worker trains up to {most} runs of {EXPERIMENT} side by side (what fits into {CACHE >> 20} MiB, at most "
        f"{MOST_MEMBERS}); an update takes {alone:.2f} ms of processor time alone, {among:.2f} ms among {MEMBERS}"
    )


@functools.cache
def cost() -> tuple[float, float]:
    """Processor time in seconds of an update of one run: alone, and among others, in turn."""
    from rnnlab.config.config import load_config

    configs = [load_config(EXPERIMENT, [*QUIET, f"seed={seed}"]) for seed in range(MEMBERS)]
    contestants = update(configs[:1]), update(configs)
    spent: list[list[float]] = [[], []]
    began = time.monotonic()
    while len(spent[1]) < 2 or (len(spent[1]) <= ROUNDS and time.monotonic() - began < SECONDS):
        for seconds, advance in zip(spent, contestants, strict=True):
            before = time.process_time()
            advance()
            seconds.append(time.process_time() - before)
    alone, together = (median(seconds[1:]) for seconds in spent)  # the first one fills caches and pools
    return alone, together / MEMBERS


def update(configs: "list[Config]") -> Callable[[], None]:
    """One update of runs of one shape that train together."""
    from rnnlab.training.population import Population
    from rnnlab.training.progress import Progress

    def fail(run: "Progress", error: Exception | None) -> None:
        raise error or RuntimeError(f"a run ended after {run.step} updates")

    population = Population(fail)
    for config in configs:
        population.join(Progress(config))
    return population.advance
