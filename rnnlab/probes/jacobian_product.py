"""Product of the Jacobians of the last steps: in how many directions a gradient survives the way back."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.probes.base import probe
from rnnlab.probes.jacobian import EXAMPLES, example_labels, in_double, step_jacobian

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

WINDOWS = 20


@probe("full", cost="E T S³")
def jacobian_product(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Singular values of J_{T-1} J_{T-2} … J_{T-n}, the Jacobian of the last state in the one n steps before.

    The product is rescaled at every step, in float64, so that it neither underflows nor overflows; what is lost is
    what is tiny beside the largest: singular values below its rounding error are NaN, as are windows longer than an
    example. In a dilated layer the product runs over the n steps of the chain that the last step belongs to, n·d in
    time. All states are taken together, S units, for the first four examples, the longest ones of a padded batch. Where
    examples are coupled, as by batch norm in training, there is no Jacobian for each and nothing is returned.

    Args:
        trace: one direction of one layer.

    Returns:
        `log10_singular_value`, largest first: (example, window, index), where window is n; `log10_condition_number`,
        that of the largest over the smallest, NaN where the smallest is: (example, window).

    Reference: Saxe et al. 2014, "Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Neural Networks",
    section 4; Pennington et al. 2017, "Resurrecting the Sigmoid in Deep Learning through Dynamical Isometry",
    section 2.
    """
    import xarray as xr

    if trace.couples_examples:
        return {}
    longest = -(-trace.steps // trace.dilation)
    windows = np.unique(np.geomspace(1, longest, WINDOWS).round().astype(int))
    values = _log10_singular_values(in_double(trace), windows.tolist())
    coords = {"example": example_labels(trace), "window": windows, "index": np.arange(values.shape[-1])}
    attrs = {"long_name": "log10 singular value of the product of the last Jacobians"}
    array = xr.DataArray(values.cpu().numpy(), coords, tuple(coords), attrs=attrs)
    ratio = array.isel(index=0, drop=True) - array.isel(index=-1, drop=True)
    title = {"long_name": "log10 condition number of the product of the last Jacobians"}
    return {"log10_singular_value": array, "log10_condition_number": ratio.assign_attrs(title)}


def _log10_singular_values(trace: "Trace", windows: list[int]) -> Tensor:
    """(E, number of windows, S)."""
    lengths = trace.lengths[:EXAMPLES]
    E, S = len(lengths), sum(trace.cell.state_sizes)
    product = torch.eye(S, dtype=torch.float64, device=trace.u.device).repeat(E, 1, 1)
    log10_scale = product.new_zeros(E)
    found = product.new_full((E, len(windows), S), torch.nan)
    for k in range(trace.steps - 1, -1, -1):
        past = lengths - 1 - k  # time steps since the example's last one
        (rows,) = ((past >= 0) & (past % trace.dilation == 0)).nonzero(as_tuple=True)
        if not len(rows):
            continue
        product[rows] = product[rows] @ step_jacobian(trace, k, rows)
        largest = product[rows].abs().amax((-2, -1))
        log10_scale[rows] += largest.log10()
        product[rows] /= largest.where(largest > 0, 1.0)[:, None, None]
        for row in rows.tolist():
            window = int(past[row]) // trace.dilation + 1
            if window in windows:
                found[row, windows.index(window)] = _log10_svd(product[row]) + log10_scale[row]
    return found


def _log10_svd(matrix: Tensor) -> Tensor:
    """log10 singular values, (S,); NaN below the rounding error of the largest, or where the matrix has overflown."""
    if not matrix.isfinite().all():
        return matrix.new_full(matrix.shape[:1], torch.nan)
    values = torch.linalg.svdvals(matrix)
    resolved = values >= torch.finfo(matrix.dtype).eps * len(values) * values[0]
    return values.log10().where(resolved, torch.nan)
