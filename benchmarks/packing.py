"""How many search trials a worker may have in hand where points are proposed from what others came to.

`python -m benchmarks.packing [--repeats N] [--write]`; only --write changes docs/populations.md. Three planes are
trained once on a grid; then each sampler searches the surface between its points, one by one and several at once.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import optuna
from scipy.interpolate import RegularGridInterpolator

from benchmarks.timing import write_measured
from rnnlab.common.locks import FileLock
from rnnlab.config.config import Config
from rnnlab.statistics.intervals import bootstrap_difference
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.samplers import objectives
from rnnlab.sweep.store.slots import claim_many, fill
from rnnlab.sweep.work.worker import propose
from rnnlab.training.runs import train

DOCUMENT = Path("docs/populations.md")
SAMPLERS = ("random", "tpe", "cmaes", "gp", "nsga2")
WIDTHS = (1, 2, 4, 8)
TRIALS = 24
POINTS, SEEDS = 12, 2
"""Of the grid along each side, and runs at each of its points."""
PLANE = {
    "optimizer.lr": {"low": 1e-4, "high": 1.0, "log": True},
    "optimizer.beta1": {"low": 0.0, "high": 0.99},
}
TRAINING = {"steps": 200, "batch_size": 16, "eval_every": 100, "eval_examples": 200, "test_examples": 200}
SEARCHES: dict[str, dict[str, Any]] = {
    "adding-20, GRU": {"task": {"kind": "adding", "length": 20}, "cell": {"kind": "gru", "hidden_size": 16}},
    "temporal order-20, tanh": {
        "task": {"kind": "temporal_order", "length": 20},
        "cell": {"kind": "vanilla", "hidden_size": 16},
    },
    "delayed recall-20, LSTM": {
        "task": {"kind": "delayed_recall", "length": 20},
        "cell": {"kind": "lstm", "hidden_size": 16},
    },
}


def definition_of(search: dict[str, Any], sampler: str, seed: int) -> SweepDefinition:
    """The sweep of one arm that searches the plane."""
    base = {"cell": search["cell"], "training": TRAINING, "recording": {"points": 0}}
    fields = {"name": "packing", "question": "?", "base": base, "tasks": [search["task"]], "arms": {"arm": {}}}
    return SweepDefinition.parse(
        {**fields, "search": PLANE, "trials": TRIALS, "seeds": 2, "sampler": sampler, "seed": seed}
    )


def surface(search: dict[str, Any]) -> RegularGridInterpolator:
    """Final loss over the unit square, in shares of the trivial baseline: trained on a grid, linear between."""
    definition, shares = definition_of(search, "random", 0), np.linspace(0, 1, POINTS)
    plan, sides = definition.studies[0], [definition.search[name] for name in PLANE]
    configs: list[Config] = []
    for first in shares:
        for second in shares:
            point = {name: _at(side, share) for name, side, share in zip(PLANE, sides, (first, second), strict=True)}
            configs += [plan.config(point, seed) for seed in range(SEEDS)]
    worst = configs[0].task.baseline.loss
    losses = [min(result.objective, worst) for result in train(configs)]
    grid = np.array(losses).reshape(POINTS, POINTS, SEEDS).mean(-1) / worst
    return RegularGridInterpolator((shares, shares), grid)


def _at(side: Any, share: float) -> float:
    """The value at a share of a distribution's width."""
    if side.log:
        return float(side.low * (side.high / side.low) ** share)
    return float(side.low + share * (side.high - side.low))


def best(search: dict[str, Any], height: RegularGridInterpolator, sampler: str, width: int, seed: int) -> float:
    """The least loss that a search finds which has so many trials in hand at a time."""
    definition = definition_of(search, sampler, seed)
    plan, several = definition.studies[0], objectives(definition.sampler)
    directions = [optuna.study.StudyDirection.MINIMIZE] * several
    study = optuna.create_study(study_name=plan.study_name("search"), directions=directions)
    points = definition.planned_points(plan)
    fill(study, points, [{"phase": "search"}] * len(points))
    found = []
    with TemporaryDirectory() as folder:
        lock = FileLock(Path(folder) / "lock")
        while claimed := claim_many([study], width):
            for trial in [propose(definition, plan, *each, lock) for each in claimed]:
                value = float(height([definition.search[name].share(trial.params[name]) for name in PLANE])[0])
                trial.study.tell(trial, [value, 1.0][:several])
                found.append(value)
    return min(found)


def rows(repeats: int) -> Iterator[str]:
    """The table, as Markdown."""
    yield f"| search | sampler | {' | '.join(f'{width} in hand' for width in WIDTHS)} |"
    yield f"|---|---|{'---:|' * len(WIDTHS)}"
    for name, search in SEARCHES.items():
        height = surface(search)
        for sampler in SAMPLERS:
            count = repeats if sampler != "gp" else max(2, repeats // 4)  # each of its proposals fits a process anew
            found = {w: np.array([best(search, height, sampler, w, seed) for seed in range(count)]) for w in WIDTHS}
            yield f"| {name} | {sampler} | {' | '.join(_cell(found, width) for width in WIDTHS)} |"


def _cell(found: dict[int, np.ndarray], width: int) -> str:
    if width == WIDTHS[0]:
        return f"{found[width].mean():.4f}"
    change = bootstrap_difference(found[width], found[WIDTHS[0]], np.random.default_rng(0))
    return f"{found[width].mean():.4f} ({change.value:+.4f} [{change.low:+.4f}, {change.high:+.4f}])"


def main() -> None:
    """Measure, and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=32, help="searches of each kind (32)")
    parser.add_argument("--write", action="store_true", help=f"write {DOCUMENT}")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    lines = []
    for line in rows(options.repeats):
        print(line, flush=True)
        lines.append(line)
    if options.write:
        write_measured(DOCUMENT, "\n".join(lines), "packing")


if __name__ == "__main__":
    main()
