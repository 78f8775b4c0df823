"""Train runs of a sweep again, up to an early moment, and measure them on the way."""

import json
import warnings

import pandas as pd

from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.statistics.gradient_health import EARLY
from rnnlab.tracking import store
from rnnlab.tracking.provenance import CONFIG
from rnnlab.tracking.reader import load_sweep
from rnnlab.training.population import Population
from rnnlab.training.progress import Progress
from rnnlab.training.torch_settings import torch_settings

from .measures import MEASURES, health

SEEDS = 5
MOMENTS = {"init": "at initialisation", "early": f"after {EARLY:.0%} of the updates"}
KEPT = ["run_id", "task", "arm", "seed", "solved", "score", "steps_to_solve"]
COLUMNS = [*KEPT, *(f"{measure}_{moment}" for moment in MOMENTS for measure in MEASURES)]


def fresh_runs(sweep: str, uri: str, seeds: int = SEEDS) -> pd.DataFrame:
    """The finished runs of the first fresh seeds of every arm and task, in the order in which tasks were run."""
    runs = load_sweep(sweep, uri)
    final = runs.loc[(runs["phase"] == "final") & (runs["trial"] < seeds) & (runs["status"] == "FINISHED")]
    return final.loc[final["outcome"] != "failed", KEPT].reset_index(drop=True)


def config_of(run_id: str, uri: str) -> Config:
    """What a run was, by its own tag."""
    return Config.parse(json.loads(store.connect(uri).get_run(run_id).data.tags[CONFIG]))


def measure_again(runs: pd.DataFrame, uri: str) -> pd.DataFrame:
    """Train runs of one arm and task anew, side by side, to 5% of their updates, and measure them before and then.

    The same configuration gives the same run, to the bit. A run that has diverged by then has no early measures.

    Args:
        runs: of `fresh_runs`; they differ in nothing but the seed.
        uri: the store they are in.

    Returns:
        The same with all `COLUMNS`.
    """
    config = config_of(runs["run_id"].iloc[0], uri)
    recording = config.recording.model_copy(update={"points": 0})
    configs = [config.model_copy(update={"seed": int(s), "recording": recording}) for s in runs["seed"]]
    with torch_settings(config.threads), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a diverged network has no logarithms; NaN tells
        measured = pd.DataFrame(_measured(configs), index=runs.index)
    return runs.join(measured).reindex(columns=COLUMNS)


def _measured(configs: list[Config]) -> list[dict[str, float]]:
    rows: dict[int, dict[str, float]] = {}
    updates = max(1, round(EARLY * configs[0].training.steps))

    def end(run: Progress, error: Exception | None) -> None:
        if error is not None and not isinstance(error, Interrupted):
            raise error
        if not run.diverged:
            rows[run.config.seed] |= {f"{name}_early": value for name, value in health(run).items()}

    population = Population(end)
    for config in configs:
        run = Progress(config)
        run.should_stop = lambda run=run: run.step >= updates
        rows[config.seed] = {f"{name}_init": value for name, value in health(run).items()}
        population.join(run)
    while population.members:
        population.advance()
    return [rows[config.seed] for config in configs]
