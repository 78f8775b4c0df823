"""Sensitivity: how much the state depends on the weights, which grows with memory where no gradient explodes."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.probes.base import probe
from rnnlab.probes.jacobian import first_examples, in_double
from rnnlab.probes.tangents import Directions, step_tangents, trained
from rnnlab.probes.trace import Block

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


@probe("full", cost="E T S²")
def sensitivity(trace: "Trace", directions: int = 16) -> "dict[str, xr.DataArray]":
    """E ‖ds_t/dW‖², the squared norm of the derivative of a state in a weight, through all steps up to t.

    ds_t = J_t ds_{t-1} + ∂s_t/∂W dW is carried forward along the trajectory for random signs dW, and the mean of
    ‖ds_t‖² over them is the squared norm: without bias for every weight, exactly where every unit has numbers of its
    own, as in the `indrnn`. With white noise into h_t = λ h_{t-1} + x_t it tends to (1 + λ²)/(1 - λ²)³ while E h² is
    1/(1 - λ²): the longer a unit remembers, the finer its weight has to be set (the curse of memory). Taken for the
    first four examples, in float64; steps before the first one of the trace count as constants. Weights that no step
    reads are left out; where examples are coupled, as by batch norm in training, nothing is returned.

    Args:
        trace: one direction of one layer.
        directions: number of random signs for each weight.

    Returns:
        `log10_sensitivity`, log10 of the mean over examples: (state, weight, time); -inf where a state depends on no
        such weight. The condition number of the Jacobian over many steps is in `jacobian_product`.

    Reference: Zucchet and Orvieto 2024, "Recurrent Neural Networks: Vanishing and Exploding Gradients Are Not the End
    of the Story", section 2.
    """
    import xarray as xr

    if trace.mixes_examples:
        return {}
    names = trained(trace)
    squares = _squares(in_double(trace), names, directions)  # (states, weights, T, B)
    with np.errstate(divide="ignore"):
        logs = squares.nanmean(-1).log10().cpu().numpy()
    read = [i for i in range(len(names)) if np.isfinite(logs[:, i]).any()]
    coords = {"state": list(trace.cell.states), "weight": [names[i] for i in read], "time": trace.time}
    title = {"long_name": "log10 mean squared norm of the derivative of a state in a weight"}
    return {"log10_sensitivity": xr.DataArray(logs[:, read], coords, tuple(coords), attrs=title)}


def _squares(trace: "Trace", names: list[str], directions: int) -> Tensor:
    """(states, weights, T, B) in the caller's order, NaN for examples that are not looked at."""
    changes = _one_weight_each(trace, names, directions)
    d, E, sizes = trace.dilation, len(first_examples(trace, 0)), trace.cell.state_sizes
    count = len(names) * directions
    tangents = [trace.u.new_zeros(d, count, E, size) for size in sizes]  # of each chain
    found = trace.u.new_full((len(sizes), len(names), trace.steps, trace.batch_size), torch.nan)
    for k in range(trace.steps):
        rows = first_examples(trace, k)
        block = Block(torch.full_like(rows, k), rows, trace.start + k)
        before = tuple(t[k % d][:, rows] for t in tangents)
        for i, new in enumerate(step_tangents(trace, block, changes, before)):
            tangents[i][k % d, :, rows] = new
            found[i, :, k, rows] = new.square().sum(-1).view(len(names), directions, -1).mean(1)
    return torch.stack([torch.stack([trace.order.restore(f) for f in of_state]) for of_state in found])


def _one_weight_each(trace: "Trace", names: list[str], directions: int) -> Directions:
    """Random signs of one weight after the other, zeros of all others."""
    generator, changes = torch.Generator().manual_seed(0), {}
    for i, name in enumerate(names):
        shape = trace.weights[name].shape
        signs = torch.randint(0, 2, (directions, *shape), generator=generator).to(trace.u) * 2 - 1
        changes[name] = trace.u.new_zeros(len(names) * directions, *shape)
        changes[name][i * directions : (i + 1) * directions] = signs
    return changes
