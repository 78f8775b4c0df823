"""Search with both samplers, from several seeds, and read back what every trial came to."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich.console import Console

import rnnlab
from rnnlab.common.files import write_whole
from rnnlab.sweep.plan.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.runner import run_sweep

SWEEP = Path(__file__).with_name("sweep.yaml")
SAMPLERS = ("genetic", "random")
APART = 10
"""Between the seeds of two searches, so that none shares a fresh seed with another."""


def definitions(searches: int, budget: str | None = None) -> Iterator[SweepDefinition]:
    """The sweeps to run: each sampler from each seed. Those of one seed start from the same trials."""
    base = load_sweep_definition(SWEEP, budget)
    for k in range(searches):
        for sampler in SAMPLERS:
            name = f"{base.name}-{sampler}-{k}"
            yield base.model_copy(update={"name": name, "sampler": sampler, "seed": APART * k, "budgets": {}})


def search(definition: SweepDefinition) -> pd.DataFrame:
    """Run one sweep, or go on with it, and read it back.

    Returns:
        One row a run: sampler, seed (of the search), phase, trial, objective, score, steps (updates), cost, seconds.

    Raises:
        SystemExit: if it was stopped.
    """
    path = Path("runs", "genetic_search", f"{definition.name}.yaml")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, definition.to_yaml().encode())
    if run_sweep(path, console=Console(quiet=True)).exit_code:
        raise SystemExit(f"{definition.name} was stopped: start again to go on")
    runs = rnnlab.load_sweep(definition.name).sort_values(["phase", "trial"], ignore_index=True)
    runs = runs.assign(sampler=definition.sampler, seed=definition.seed)
    return runs.loc[:, ["sampler", "seed", "phase", "trial", "objective", "score", "steps", "cost", "seconds"]]
