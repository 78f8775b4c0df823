"""The few numbers of a gradient profile that are worth a curve along training."""

import math

import numpy as np
import xarray as xr

from rnnlab.gradients.decay import fit_decay
from rnnlab.probes.horizon import effective_horizon
from rnnlab.training.result import summarised

SHARES = ("zero_fraction", "nan_fraction", "underflowed_fraction")


def profile_numbers(profile: xr.Dataset) -> dict[str, float]:
    """Sum up the newest step of a profile: the hidden state, forward, at the top of the network.

    Decay rate, half-life, horizon and shares are those of a run's curves and tables, by the names that they have
    there. `log10_norm_min` and `log10_norm_max` are the smallest and the largest norm of any example at any time step,
    `log10_norm_total` is that of all time steps together, √Σ_t ‖dL/dh_t‖², from the mean profile.

    Args:
        profile: a gradient profile with at least one recorded step.

    Returns:
        Numbers by name; those that do not exist, or are infinite, are left out.
    """
    one = summarised(profile).isel(step=-1)
    norm, lag = one["log10_grad_norm_by_lag"].values, one["lag"].values
    decay = fit_decay(norm, lag, one["loss_fraction_by_lag"].values)
    found = {
        "decay_rate": decay.slope,
        "half_life": decay.half_life,
        "horizon": effective_horizon(norm, lag),
        "log10_norm_min": _extreme(np.fmin, one["log10_grad_norm_min_by_lag"].values),
        "log10_norm_max": _extreme(np.fmax, one["log10_grad_norm_max_by_lag"].values),
        "log10_norm_total": _total(norm),
        **{name: _mean(one[name].values) for name in SHARES},
    }
    return {f"grad/{name}": value for name, value in found.items() if math.isfinite(value)}


def _extreme(of: np.ufunc, values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(of.reduce(finite)) if len(finite) else math.nan


def _mean(shares: np.ndarray) -> float:
    """Over the time steps that were measured."""
    measured = shares[~np.isnan(shares)]
    return float(measured.mean()) if len(measured) else math.nan


def _total(log10_norm: np.ndarray) -> float:
    """log10 √Σ 10^(2 x), of squares that may lie below what a float can hold."""
    finite = log10_norm[np.isfinite(log10_norm)]
    if not len(finite):
        return math.nan
    return float(finite.max() + np.log10((10.0 ** (2 * (finite - finite.max()))).sum()) / 2)
