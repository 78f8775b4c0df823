"""Total gradient: the norm of dL/ds_t through every path, for each example and time step."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from rnnlab.gradients.norms import Norms, log10_norm, over_examples
from rnnlab.probes.base import probe
from rnnlab.scan.shadow import underflowed

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from rnnlab.probes.trace import Trace


@probe("light", cost="T B S")
def total_gradient(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Norm of the total gradient at every time step, as `rnnlab.record` gives it without a trace.

    Args:
        trace: one direction of one layer.

    Returns:
        `log10_grad_norm`, with `_min` and `_max` over examples, `zero_fraction` and `nan_fraction`: (state, time).
    """
    norms = [over_examples(_measured(trace.in_time(total)).cpu()) for total in trace.total]
    arrays = norm_arrays("grad_norm", "total gradient", norms, trace)
    for share in ("zero_fraction", "nan_fraction"):
        arrays[share] = arrays.pop(f"grad_norm_{share}")
    return arrays


def _measured(total: "Tensor") -> "Tensor":
    return log10_norm(total).masked_fill(underflowed(total), torch.nan)


def norm_arrays(name: str, title: str, norms: list[Norms], trace: "Trace") -> "dict[str, xr.DataArray]":
    """Label the norms of every state.

    Args:
        name: what the variables are called after `log10_`.
        title: what the norms are of, for the axis.
        norms: one for each state of the cell.
        trace: names the states.

    Returns:
        The five variables, (state, time).
    """
    import xarray as xr

    names = (
        f"log10_{name}",
        f"log10_{name}_min",
        f"log10_{name}_max",
        *(f"{name}_{share}_fraction" for share in ("zero", "nan")),
    )
    titles = ("mean over examples of log10 of the", "smallest log10", "largest log10", "share of zeros:")
    titles = (*titles, "share of what is not a number:")
    coords = {"state": list(trace.cell.states), "time": trace.time}
    return {
        variable: xr.DataArray(np.stack(values), coords, ("state", "time"), attrs={"long_name": f"{what} {title} norm"})
        for variable, what, values in zip(names, titles, zip(*norms, strict=True), strict=True)
    }
