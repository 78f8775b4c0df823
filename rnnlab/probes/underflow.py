"""Underflow: where the gradient leaves the range of its floating-point type."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.probes.base import probe

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


@probe("light", cost="T B S")
def underflow(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Shares of entries of the total gradient that are exactly zero or denormal, and the lag where all are zero.

    A denormal number lies between zero and the smallest normal number of the type; it carries fewer digits and slows a
    CPU down many times. Entries are units of all examples. Not every zero is an underflow: dead ReLU units, and steps
    that the loss cannot be reached from, are zero too.

    Args:
        trace: one direction of one layer.

    Returns:
        `gradient_zeros` and `gradient_denormals`, (state, time), NaN where all examples have ended; `underflow_lag`,
        (state), the smallest lag from which on every entry is zero, NaN if there is none. Lags count from the last
        step of each example, in the direction of the scan. The attribute `smallest_normal` is the type's.

    Reference: IEEE 754, subnormal numbers.
    """
    import xarray as xr

    dtype = trace.dtype
    attrs = {"dtype": str(dtype).removeprefix("torch."), "smallest_normal": torch.finfo(dtype).tiny}
    zeros, denormals, lags = [], [], []
    for total in trace.total:
        total = total.nan_to_num(torch.inf)  # overflown, not missing
        gradient = trace.in_time(total)
        measured = (~gradient.isnan()).sum((1, 2)).double()  # 0 / 0 is NaN where nothing was measured
        small = gradient.abs() < attrs["smallest_normal"]
        zero = gradient == 0
        zeros.append((zero.sum((1, 2)) / measured).cpu().numpy())
        denormals.append(((small & ~zero).sum((1, 2)) / measured).cpu().numpy())
        lags.append(_first_lag_of_nothing(trace.by_lag(total.abs().amax(-1))))
    state, time = list(trace.cell.states), trace.time
    shares = {
        "gradient_zeros": (zeros, "share of entries that are exactly zero"),
        "gradient_denormals": (denormals, "share of denormal entries"),
    }
    arrays = {
        name: xr.DataArray(
            np.stack(values), {"state": state, "time": time}, ("state", "time"), attrs={"long_name": title, **attrs}
        )
        for name, (values, title) in shares.items()
    }
    title = {"long_name": "lag from which on the gradient is exactly zero", "units": "steps", **attrs}
    return arrays | {"underflow_lag": xr.DataArray(np.array(lags), {"state": state}, ("state",), attrs=title)}


def _first_lag_of_nothing(largest: Tensor) -> float:
    """Smallest lag from which on the largest entries, (T, B), are all zero; NaN if the last lag still has some."""
    alive = (largest != 0) & ~largest.isnan()
    lags = alive.any(1).nonzero()
    first = int(lags[-1]) + 1 if len(lags) else 0
    return float(first) if first < len(largest) else float("nan")
