"""Total gradient: the norm of dL/ds_t through every path, for each example and time step."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab.probes.base import probe

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


def log10_norm(gradient: Tensor) -> Tensor:
    """Take log10 of Euclidean norms without squaring anything too small or too large to be squared.

    Args:
        gradient: (..., H); any floating dtype.

    Returns:
        (...) float64; -inf where the gradient is exactly zero, inf or NaN where it has overflown.
    """
    largest = gradient.abs().amax(-1)
    usable = (largest > 0) & torch.isfinite(largest)
    scale = torch.where(usable, largest, torch.ones_like(largest))
    norm = torch.linalg.vector_norm(gradient / scale.unsqueeze(-1), dim=-1).double()
    return torch.where(usable, norm.log10() + scale.double().log10(), largest.double().log10())


class Norms(NamedTuple):
    """Norms of one state over the examples of a batch, (T,) each; NaN where nothing was measured.

    Attributes:
        mean: mean of log10 norms over the examples whose gradient is not zero.
        low: smallest of them.
        high: largest of them.
        zero_fraction: share of examples whose gradient is exactly zero.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    zero_fraction: np.ndarray


def over_examples(log10_norms: Tensor) -> Norms:
    """Aggregate over examples, in log space.

    Args:
        log10_norms: (T, B) from `log10_norm`; NaN where an example was not measured.

    Returns:
        Mean, minimum and maximum over the measured examples that are not zero, and the share of zeros among the
        measured; NaN where there are none.
    """
    logs = log10_norms.numpy()
    if np.isfinite(logs).all():  # as a rule; the rest costs several times more
        return Norms(logs.mean(1), logs.min(1), logs.max(1), np.zeros(len(logs)))
    zero, measured = np.isneginf(logs), ~np.isnan(logs)
    usable = measured & ~zero
    count = usable.sum(1)
    nothing = np.where(count > 0, 0.0, np.nan)
    with np.errstate(invalid="ignore"):  # 0 / 0 is NaN where nothing was measured
        return Norms(
            np.where(usable, logs, 0.0).sum(1) / count,
            np.where(usable, logs, np.inf).min(1, initial=np.inf) + nothing,
            np.where(usable, logs, -np.inf).max(1, initial=-np.inf) + nothing,
            zero.sum(1) / measured.sum(1),
        )


@probe("light", cost="T B S")
def total_gradient(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Norm of the total gradient at every time step, as `rnnlab.record` gives it without a trace.

    Args:
        trace: one direction of one layer.

    Returns:
        `log10_grad_norm`, with `_min` and `_max` over examples, and `zero_fraction`: (state, time).
    """
    norms = [over_examples(log10_norm(trace.in_time(total)).cpu()) for total in trace.total]
    arrays = norm_arrays("grad_norm", "total gradient", norms, trace)
    arrays["zero_fraction"] = arrays.pop("grad_norm_zero_fraction")
    return arrays


def norm_arrays(name: str, title: str, norms: list[Norms], trace: "Trace") -> "dict[str, xr.DataArray]":
    """Label the norms of every state.

    Args:
        name: what the variables are called after `log10_`.
        title: what the norms are of, for the axis.
        norms: one for each state of the cell.
        trace: names the states.

    Returns:
        The four variables, (state, time).
    """
    import xarray as xr

    names = (f"log10_{name}", f"log10_{name}_min", f"log10_{name}_max", f"{name}_zero_fraction")
    titles = ("mean over examples of log10 of the", "smallest log10", "largest log10", "share of zeros:")
    coords = {"state": list(trace.cell.states), "time": trace.time}
    return {
        variable: xr.DataArray(np.stack(values), coords, ("state", "time"), attrs={"long_name": f"{what} {title} norm"})
        for variable, what, values in zip(names, titles, zip(*norms, strict=True), strict=True)
    }
