"""Blocks of a step's Jacobian: which state hands a gradient on to which."""

from typing import TYPE_CHECKING

import torch

from rnnlab.gradients.norms import over_examples
from rnnlab.probes.base import probe
from rnnlab.probes.jacobian import sampled_jacobians

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


@probe("full", cost="E min(T, 100) S³")
def jacobian_blocks(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Spectral norm of each block ds_t[to]/ds_{t-1}[from] of one step's Jacobian, for cells with several states.

    Of an LSTM `c→c` is the forget gate alone, the constant error carousel; `h→c` goes through the recurrent weights;
    `c→h` and `h→h` are what the output gate lets through of both. Examples and steps are those of `jacobian`; where
    examples are coupled nothing is returned.

    Args:
        trace: one direction of one layer.

    Returns:
        `log10_block_norm`, mean over examples without zeros: (block, time); -inf where all are zero.

    Reference: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", section 3; Pascanu et al. 2013, "On the
    Difficulty of Training Recurrent Neural Networks", section 2.1.
    """
    import xarray as xr

    names, sizes = trace.cell.states, list(trace.cell.state_sizes)
    if len(names) == 1 or trace.couples_examples:
        return {}
    found = torch.full((len(names) ** 2, trace.steps, trace.batch_size), torch.nan, dtype=torch.float64)
    for k, rows, jacobians in sampled_jacobians(trace):
        blocks = [block for row in jacobians.split(sizes, 1) for block in row.split(sizes, 2)]
        for i, block in enumerate(blocks):
            finite = block.isfinite().all(-1).all(-1)
            norms = torch.linalg.matrix_norm(block.where(finite[:, None, None], torch.zeros(())), 2)
            found[i, k, rows] = norms.log10().where(finite, torch.nan).cpu()
    means = torch.stack([torch.from_numpy(over_examples(trace.order.restore(logs)).mean) for logs in found])
    coords = {"block": [f"{old}→{new}" for new in names for old in names], "time": trace.time}
    title = {"long_name": "mean log10 spectral norm of a block of one step's Jacobian"}
    return {"log10_block_norm": xr.DataArray(means.numpy(), coords, tuple(coords), attrs=title)}
