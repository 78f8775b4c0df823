"""Effective horizon: how many steps back the total gradient reaches."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from rnnlab.gradients.decay import fit_decay
from rnnlab.gradients.norms import log10_norm, over_examples
from rnnlab.probes.base import probe

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

THRESHOLDS = (1e-2, 1e-6)
"""Shares of the norm at the loss that a gradient still has at the horizon."""


def effective_horizon(log10_norm: np.ndarray, lag: np.ndarray, threshold: float = 1e-2) -> float:
    """Find how far from the loss the gradient still has a given share of the norm it has there.

    The loss is taken to be at the smallest lag with a gradient. Norms between may be smaller. A horizon as long as
    the sequence is a lower bound.

    Args:
        log10_norm: (T,) log10 of the gradient norm; NaN where not measured, minus infinity where zero.
        lag: (T,) distance to the last step, in steps.
        threshold: the share.

    Returns:
        Steps from the loss to the farthest such lag; NaN without a finite norm.
    """
    finite = np.isfinite(log10_norm)
    if not finite.any():
        return math.nan
    lags, norms = lag[finite], log10_norm[finite]
    start = lags.argmin()
    return float((lags - lags[start])[norms >= norms[start] + math.log10(threshold)].max())


def mean_lag(log10_norm: np.ndarray, lag: np.ndarray) -> float:
    """Average distance from the loss, every step weighted by its gradient norm.

    Args:
        log10_norm: (T,) log10 of the gradient norm; NaN where not measured, minus infinity where zero.
        lag: (T,) distance to the last step, in steps.

    Returns:
        Σ k ‖g_k‖ / Σ ‖g_k‖ with k counted from the smallest lag that has a gradient; NaN without a finite norm.
    """
    finite = np.isfinite(log10_norm)
    if not finite.any():
        return math.nan
    lags, norms = lag[finite], log10_norm[finite]
    return float(np.average(lags - lags.min(), weights=10 ** (norms - norms.max())))


@probe("light", cost="T B S")
def horizon(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Decay rate, half-life, effective horizon and mean lag of the total gradient.

    They describe the mean of log10 norms over examples as a function of lag, the distance to the last step of each
    example in the direction of the scan. A loss at every step adds a gradient at every lag, and the profile then tells
    of the sum; `lagged` takes it apart. So decay rate and half-life are those before the first step with a loss.

    Args:
        trace: one direction of one layer.

    Returns:
        `decay_rate`, decades per step; `half_life`, `mean_lag`, steps: (state). `horizon`, steps: (state, threshold),
        the farthest lag at which the norm is at least that share of the norm at the loss. NaN where they do not exist.
    """
    import xarray as xr

    lag, values = np.arange(trace.steps), []
    answered = trace.by_lag(torch.stack([direct.abs().amax(-1) for direct in trace.direct]).amax(0)).cpu()  # (lag, B)
    loss = (answered > 0).double().mean(1).numpy()
    for total in trace.total:
        norms = over_examples(trace.by_lag(log10_norm(total)).cpu())
        profile = np.where(norms.zero_fraction == 1, -np.inf, norms.mean)
        decay = fit_decay(profile, lag, loss)
        reach = [effective_horizon(profile, lag, threshold) for threshold in THRESHOLDS]
        values.append((decay.slope, decay.half_life, mean_lag(profile, lag), reach))
    state = {"state": list(trace.cell.states)}
    titles = {
        "decay_rate": ("slope of log10 norm against lag", "decades per step"),
        "half_life": ("lag over which the norm halves or doubles", "steps"),
        "mean_lag": ("mean lag, weighted by the gradient norm", "steps"),
    }
    columns = list(zip(*values, strict=True))
    arrays = {
        name: xr.DataArray(np.array(column), state, ("state",), attrs={"long_name": title, "units": units})
        for (name, (title, units)), column in zip(titles.items(), columns, strict=False)
    }
    arrays["horizon"] = xr.DataArray(
        np.array(columns[-1]),
        state | {"threshold": list(THRESHOLDS)},
        ("state", "threshold"),
        attrs={"long_name": "farthest lag with this share of the norm at the loss", "units": "steps"},
    )
    return arrays
