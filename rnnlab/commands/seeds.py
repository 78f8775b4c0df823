"""One experiment on many seeds from the command line: trained together, stored one by one, summed up with intervals."""

import math
import shutil
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from rnnlab.commands.stored import (
    CHECKPOINTS,
    EXPERIMENT,
    check_start,
    command_line,
    delivering,
    failing,
    held,
    resumable,
)
from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import signals_caught
from rnnlab.common.output import Output
from rnnlab.common.text import count, interval, median, number
from rnnlab.config.config import Config
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.store import prepare_store, tracking_uri
from rnnlab.training.company import Slot
from rnnlab.training.kernels import prepare_kernels
from rnnlab.training.progress import Progress
from rnnlab.training.result import Curve
from rnnlab.training.runs import work_through

MOST = 10_000
TELL_SECONDS = 5.0
"""A line at least so often, while any seed is evaluated."""


def run_seeds(config: Config, seeds: int, name: str, output: Output) -> None:
    """Train on `config.seed` and those after it, store each run in MLflow, and sum up.

    Args:
        config: the experiment, with the first seed.
        seeds: how many.
        name: of the runs in the dashboard, which their seeds follow.
        output: how much to say.

    Raises:
        UserError: if the number is not allowed, another process is at it, or the store or the disk cannot be used.
        SystemExit: with code 130 after Ctrl-C, or 4 where MLflow does not take every run; the same command continues.
    """
    if not 2 <= seeds <= MOST:
        raise UserError(f"--seeds {seeds} is not allowed: choose from 2 to {MOST}, or leave it out for a single run")
    check_start(config)
    uri, folder, console = tracking_uri(), CHECKPOINTS / f"{config.hash}-{seeds}-seeds", output.console()
    prepare_store(uri)
    with held(folder, f"experiment {config.hash}"):
        outbox = Outbox(folder / "outbox")
        with delivering(outbox, uri, console), resumable(console):
            ended = _Seeds(config, seeds, name, folder, outbox, console).train()
        facts = summed_up(config, [run.summary for run in ended])
        shutil.rmtree(folder)
    if output.plain:
        _print(console, facts)
    output.finish({**facts, "config_hash": config.hash}, word=f"{facts['solved'][0]:g}")


class _Seeds:
    """Those of one start."""

    def __init__(self, config: Config, seeds: int, name: str, folder: Path, outbox: Outbox, console: Console) -> None:
        self.config, self.name, self.folder, self.console = config, name, folder, console
        self.seeds = range(config.seed, config.seed + seeds)
        self.entries = {seed: outbox.entry(f"seed-{seed}") for seed in self.seeds}
        self._told = time.monotonic()

    def train(self) -> list[RunState]:
        """Train what no earlier start has, and return how every seed ended."""
        prepare_kernels(self.config, self.console.print)
        left = [seed for seed in self.seeds if not self._is_done(seed)]
        what = f"{self.config.task.label}, {self.config.cell.kind}, config {self.config.hash}"
        rest = f", {len(left)} left" if len(left) < len(self.seeds) else ""
        self._say(f"{what}: {count(len(self.seeds), 'seed')} from {self.seeds[0]} on{rest}")
        with signals_caught(second_kills=True) as stopped:
            configs = [self.config.model_copy(update={"seed": seed}) for seed in left]
            work_through((config, self._slot(config, lambda: bool(stopped))) for config in configs)
        ended = [self.entries[seed].outcome() for seed in self.seeds]
        return [run for run in ended if run is not None]

    def _is_done(self, seed: int) -> bool:
        """Whether it has ended; one that failed is tried again, in a run of its own."""
        run = self.entries[seed].outcome()
        if run is not None and run.status == "FAILED":
            self.entries[seed].discard()
            return False
        return run is not None

    def _slot(self, config: Config, should_stop: Callable[[], bool]) -> Slot:
        """Train on one seed, and end its entry."""
        entry, path = self.entries[config.seed], self.folder / f"seed-{config.seed}.pt"
        tags = {**config_tags(config), "rnnlab.command": command_line()}
        identity = {"rnnlab.run": uuid.uuid4().hex}
        entry.open(RunState(EXPERIMENT, f"{self.name} seed {config.seed}", identity, tags, config_params(config)))

        def follow(step: int, curves: dict[str, Curve]) -> None:
            entry.follow(curves)
            if time.monotonic() - self._told > TELL_SECONDS:
                self._say(f"seed {config.seed}: {step} of {config.training.steps} updates")

        with failing(entry):
            result = yield Progress(config, path, follow, should_stop=should_stop)
        entry.finish(result)
        solved = f" after {result.steps_to_solve} updates" if result.outcome == "solved" else ""
        line = f"seed {config.seed}: {result.outcome}{solved}"
        self._say(f"{line}, test {self.config.task.score_name} {number(result.test_score)}")

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)
        self._told = time.monotonic()


def summed_up(config: Config, summaries: list[Mapping[str, float]]) -> dict[str, Any]:
    """What came of all seeds, each with its 95% interval.

    Args:
        config: the experiment.
        summaries: of the runs; see `rnnlab.training.result.Result.summary`.

    Returns:
        Fraction solved (Wilson), mean score (BCa bootstrap) and median number of updates to solve (Kaplan-Meier).
    """
    from rnnlab.statistics.intervals import bootstrap_mean, wilson
    from rnnlab.statistics.time_to_solve import median_steps, solve_curve

    steps = np.array([each.get("steps_to_solve", math.nan) for each in summaries])
    solved = np.array([each.get("solved", 0.0) for each in summaries])
    scores = [each["score"] for each in summaries if math.isfinite(each.get("score", math.nan))]
    curve = solve_curve(np.where(solved == 1, steps, math.nan), np.full(len(steps), float(config.training.steps)))
    return {
        "task": config.task.label,
        "cell": config.cell.kind,
        "seeds": len(summaries),
        "solved": list(wilson(float(solved.sum()), len(solved))),
        "score": list(bootstrap_mean(scores, np.random.default_rng(config.seed))),
        "without_score": len(summaries) - len(scores),
        "steps_to_solve": list(median_steps(curve)),
        "score_name": config.task.score_name,
        "budget": config.training.steps,
    }


def _print(console: Console, facts: dict[str, Any]) -> None:
    without = f", without {count(facts['without_score'], 'run')} that diverged" if facts["without_score"] else ""
    rows = {
        "solved": interval(*facts["solved"]) + f" of {facts['seeds']}",
        f"test {facts['score_name']}": interval(*facts["score"]) + without,
        "median updates": median(*facts["steps_to_solve"], limit=facts["budget"]),
    }
    for name, value in rows.items():
        console.print(f"{name:<18}{value}", markup=False, highlight=False, soft_wrap=True)
    console.print("each with its 95% interval; see the runs: rnnlab ui", markup=False, highlight=False)
