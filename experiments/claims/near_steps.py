"""Plain recurrent networks are dominated by near steps."""

import pandas as pd

from rnnlab.statistics.intervals import student_mean

from .finding import Finding, Part
from .runs import configure, look, train

CLAIM = "Plain recurrent networks are dominated by near steps."
T, NEAR = 100, 10
CELLS = {"tanh": {"kind": "vanilla"}, "lstm": {"kind": "lstm"}, "gru": {"kind": "gru"}}
MOMENTS = (0, 400)


def near_share(cell: dict[str, str], seed: int) -> list[float]:
    """Share of dE/dW_hh that comes from the last steps, at initialisation and after training."""
    config = configure({"kind": "adding", "length": T}, cell, seed)
    shares = []
    for updates in MOMENTS:
        measured = look(train(config, updates), config, ["contribution"])
        shares.append(float(measured["contribution_share"].sel(weight="weight_hh", lag=NEAR - 1)))
    return shares


def examine(seeds: int) -> Finding:
    """Measure how much of the recurrent weights' gradient the last ten of a hundred steps make up."""
    shares = {
        name: list(zip(*(near_share(cell, s) for s in range(seeds)), strict=True)) for name, cell in CELLS.items()
    }
    estimates = {name: [student_mean(values) for values in moments] for name, moments in shares.items()}
    columns = ["at initialisation", f"after {MOMENTS[-1]} updates"]
    table = pd.DataFrame(
        [{"cell": name} | dict(zip(columns, map(str, moments), strict=True)) for name, moments in estimates.items()]
    )
    parts = [
        Part(
            f"tanh {when}: the last {NEAR} of {T} steps make up at least 90% of dE/dW_hh",
            estimate.low >= 0.9,
            str(estimate),
        )
        for when, estimate in zip(columns, estimates["tanh"], strict=True)
    ]
    parts += [
        Part(
            f"{columns[-1]} their share is smaller in the {name} than in the tanh network",
            estimates[name][-1].high < estimates["tanh"][-1].low,
            f"{estimates[name][-1]} against {estimates['tanh'][-1]}",
        )
        for name in ("lstm", "gru")
    ]
    setting = (
        f"Adding problem of {T} steps, 32 units, Adam at 3e-3, {seeds} seeds. Share ⟨S, dE/dW⟩ / ‖dE/dW‖² of dE/dW_hh "
        f"that the contributions S of the last {NEAR} steps make up; mean and 95% interval."
    )
    return Finding(CLAIM, setting, table, tuple(parts))
