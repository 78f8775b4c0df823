"""The cell state is a highway whose gradient is additive and governed by the forget gate."""

import numpy as np
import pandas as pd

import rnnlab
from rnnlab.statistics.intervals import Interval, student_mean

from .finding import Finding, Part
from .runs import configure, look, train

CLAIM = "The cell state is a highway whose gradient is additive and governed by the forget gate."
T = 50
BIASES = (-2.0, 0.0, 1.0, 2.0, 4.0)
TRAINED = 400


def measure(bias: float, updates: int, seed: int) -> tuple[float, float, float]:
    """Slope of dL/dc_t, slope that the forget gates alone would give, and share of the path along the cell state."""
    config = configure({"kind": "adding", "length": T}, {"kind": "lstm", "forget_bias": bias}, seed)
    seen = look(train(config, updates), config, ["total_gradient", "paths", "gates"])
    lag = T - 1 - seen["time"].values
    slope = rnnlab.fit_decay(seen["log10_grad_norm"].sel(state="c").values, lag).slope
    leak = float(seen["log10_gate"].sel(gate="forget").isel(time=slice(1, None)).mean())
    share = float(seen["path_share"].sel(path="cell").isel(time=slice(None, -1)).mean())
    return slope, leak, share


def examine(seeds: int) -> Finding:
    """Compare the gradient of the cell state with what its forget gates predict, over forget biases and training."""
    runs = {
        (bias, updates): [student_mean(v) for v in zip(*(measure(bias, updates, s) for s in range(seeds)), strict=True)]
        for updates in (0, TRAINED)
        for bias in BIASES
    }
    table = pd.DataFrame(
        [
            {
                "forget bias": f"{bias:g}",
                "updates": updates,
                "slope of dL/dc": slope,
                "mean log10 f": leak,
                "share": share,
            }
            for (bias, updates), (slope, leak, share) in runs.items()
        ]
    ).rename(columns={"share": "share of the cell path"})
    parts = [part for updates in (0, TRAINED) for part in _parts({b: runs[b, updates] for b in BIASES}, updates)]
    setting = (
        f"LSTM of 32 units on the adding problem of {T} steps, Adam at 3e-3, {seeds} seeds; slopes in decades per step "
        "of lag; mean and 95% interval. That the gradients along the paths add up is an identity and needs no test."
    )
    return Finding(CLAIM, setting, table.astype(str), tuple(parts))


def _parts(by_bias: dict[float, list[Interval]], updates: int) -> list[Part]:
    """What is examined at one moment of training."""
    slopes, leaks, shares = (np.array([by_bias[b][i].value for b in BIASES]) for i in range(3))
    low = min(by_bias[b][2].low for b in BIASES if b >= 1)
    correlation, error = float(np.corrcoef(slopes, leaks)[0, 1]), float(np.abs(slopes - leaks).max())
    when = f"after {updates} updates" if updates else "at initialisation"
    return [
        Part(
            f"{when}, with a forget bias of at least 1, the cell path carries more than half of dL/dc",
            low > 0.5,
            f"lowest bound {low:.2f}; over all biases {shares.min():.2f} to {shares.max():.2f}",
        ),
        Part(
            f"{when} mean log10 f orders the slopes (correlation over biases above 0.95)",
            correlation > 0.95,
            f"{correlation:.3f}",
        ),
        Part(
            f"{when} the slope is mean log10 f to 0.02 decades a step, at every bias",
            error < 0.02,
            f"largest difference {error:.3f}",
        ),
    ]
