"""Lyapunov spectrum: at which rates a trajectory stretches and shrinks small disturbances in the long run."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.probes.base import probe
from rnnlab.probes.jacobian import EXAMPLES, example_labels, first_examples, in_double, step_jacobian

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


@probe("full", cost="E T S³")
def lyapunov(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Finite-time Lyapunov exponents λ_i = (1/T) Σ_t log10 |R_t[i, i]|, where Q_t R_t = J_t Q_{t-1} and Q_0 = I.

    The first i add up to the rate, in decades per time step, at which the volume that i small disturbances of the
    states span grows along the trajectory; 0 is the edge between vanishing and exploding. In the long run the largest
    is the slope of the gradient profile against lag; all of them add up to the mean of log10 |det J_t|. In T steps each
    still depends on the start by some 1/T.

    In a layer of dilation d its d chains are averaged, and each of their steps counts as d time steps. All states are
    taken together, S units, in float64, for the first four examples, the longest ones of a padded batch. A direction
    that shrinks within one step to the rounding error of the others, as through a dead ReLU unit, is NaN. Where
    examples are coupled, as by batch norm in training, there is no Jacobian for each and nothing is returned.

    Args:
        trace: one direction of one layer.

    Returns:
        `lyapunov_exponent`, largest first: (example, exponent).

    Reference: Benettin et al. 1980, "Lyapunov Characteristic Exponents for Smooth Dynamical Systems", part 2; Engelken
    et al. 2023, "Lyapunov Spectra of Chaotic Recurrent Neural Networks"; Vogt et al. 2022, "On Lyapunov Exponents for
    RNNs", for trained ones.
    """
    import xarray as xr

    if trace.couples_examples:
        return {}
    values = -(-_exponents(in_double(trace))).sort(-1).values  # NaN last
    coords = {"example": example_labels(trace), "exponent": np.arange(values.shape[-1])}
    attrs = {"long_name": "Lyapunov exponent", "units": "decades per step"}
    return {"lyapunov_exponent": xr.DataArray(values.cpu().numpy(), coords, tuple(coords), attrs=attrs)}


def _exponents(trace: "Trace") -> Tensor:
    """(E, S), not yet sorted."""
    lengths, S, d = trace.lengths[:EXAMPLES], sum(trace.cell.state_sizes), trace.dilation
    axes = torch.eye(S, dtype=torch.float64, device=trace.u.device).repeat(d, len(lengths), 1, 1)  # of each chain
    sums = axes.new_zeros(len(lengths), S)
    for k in range(trace.steps):
        rows = first_examples(trace, k)
        axes[k % d, rows], R = torch.linalg.qr(step_jacobian(trace, k, rows) @ axes[k % d, rows])
        growth = R.diagonal(dim1=-2, dim2=-1).abs()  # (E, S)
        resolved = growth > torch.finfo(R.dtype).eps * S * R.abs().amax((-2, -1))[:, None]
        sums[rows] += growth.log10().where(resolved, torch.nan)
    return sums / (lengths.to(sums)[:, None] * d)
