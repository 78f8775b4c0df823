"""Which search trials are ended early: the pruners, and what each asks of a sweep."""

from collections.abc import Iterable
from typing import Literal

from rnnlab.config.config import Config
from rnnlab.sweep.plan.samplers import Sampler, objectives

Pruner = Literal["none", "median", "hyperband", "wilcoxon"]

WITHIN_RUNS = ("median", "hyperband")
"""Pruners that look at the validation loss during a run; `wilcoxon` looks between the seeds of a trial."""
REDUCTION = 3
"""Hyperband keeps one trial in so many at every rung, and the next rung has so many times the updates."""
WILCOXON_P = 0.1
"""A trial is ended where it would do so badly against the best one with this probability if it were no worse."""
LEAST_WILCOXON_SEEDS = 5
"""Losing on each of the first four seeds has p = 1/16; three, at 1/8, prove nothing at this level."""


def check_pruner(pruner: Pruner, sampler: Sampler, search_seeds: int, configs: Iterable[Config]) -> None:
    """Refuse a pruner that cannot work in a sweep.

    Args:
        pruner: the pruner.
        sampler: the sampler it goes with.
        search_seeds: seeds that each search trial is trained on.
        configs: one configuration of every study.

    Raises:
        ValueError: in one sentence.
    """
    if pruner != "none" and objectives(sampler) > 1:
        raise ValueError(
            f"pruner = '{pruner}' weighs one objective, and sampler = '{sampler}' has two: choose pruner = 'none'"
        )
    if pruner in WITHIN_RUNS and search_seeds > 1:
        raise ValueError(
            f"pruner = '{pruner}' ends a run and search_seeds = {search_seeds} makes a trial of several: "
            "choose pruner = 'wilcoxon' or 'none', or search_seeds = 1"
        )
    if pruner == "wilcoxon" and search_seeds < LEAST_WILCOXON_SEEDS:
        raise ValueError(
            f"pruner = 'wilcoxon' cannot tell anything from search_seeds = {search_seeds}: give at least "
            f"{LEAST_WILCOXON_SEEDS}"
        )
    if pruner == "hyperband":
        for config in configs:
            steps, every = config.training.steps, config.training.eval_every
            if steps <= REDUCTION * every:
                raise ValueError(
                    f"pruner = 'hyperband' needs training.steps above {REDUCTION} × training.eval_every, and on "
                    f"{config.task.label} they are {steps} and {every}: evaluate more often, or choose 'median'"
                )
