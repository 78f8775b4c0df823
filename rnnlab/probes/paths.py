"""Paths of the gradient that reaches a cell state: along the cell state itself, and through the output."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.gradients.norms import log10_norm, over_examples
from rnnlab.probes.base import probe

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

PATHS = ("cell", "hidden", "direct")


@probe("standard", cost="T B S²")
def paths(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Split of the total gradient of the cell state c_t by path.

    dL/dc_t = cell + hidden + direct. `cell` is what comes back from the next step's reading of c_t; in the plain LSTM
    f_{t+1} dL/dc_{t+1}, with peepholes also through the gates. `hidden` goes through the output of the same step,
    (∂h_t/∂c_t)ᵀ dL/dh_t, and from there on through the recurrent weights; in the plain LSTM o_t φ'(c_t) dL/dh_t.
    `direct` enters from outside, at the last step alone. The share of a path p is ⟨p, dL/dc_t⟩ / ‖dL/dc_t‖², negative
    where it works against the sum; shares add up to 1.

    Args:
        trace: one direction of one layer; its cell has a state named c, otherwise nothing is returned.

    Returns:
        `log10_path_norm`, mean over examples without zeros; `path_share` and `path_ratio`, ‖p‖ / ‖dL/dc_t‖, means over
        examples with a gradient; `log10_path_gain`, mean of log10 ‖cell‖ / ‖dL/dc_{t+1}‖ and ‖hidden‖ / ‖dL/dh_t‖:
        (path, time). `recurrent_norm`, the spectral norm of each gate's block of the recurrent weights: (gate), left
        out where `weight_hh` has no such blocks. For single gates see `gates`, for slopes `saturation`.

    Reference: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory", section 3 (constant error carousel);
    Kanuparthi et al. 2019, "h-detach: Modifying the LSTM Gradient Towards Better Optimization", section 2.
    """
    import xarray as xr

    if "c" not in trace.cell.states:
        return {}
    c = trace.cell.states.index("c")
    total, nothing = trace.total[c], torch.zeros_like(trace.total[c])
    next_total = torch.cat([total, nothing[: trace.dilation]])[trace.dilation :]
    parts = [trace.adjoints[c] - trace.direct[c], _through_output(trace, c), trace.direct[c]]
    sources = [next_total, trace.total[0], nothing]
    values = [
        _compare(trace.in_time(part), trace.in_time(source), trace.in_time(total))
        for part, source in zip(parts, sources, strict=True)
    ]
    coords = {"path": list(PATHS), "time": trace.time}
    titles = {
        "log10_path_norm": "mean log10 norm of the gradient along one path",
        "path_share": "share of a path in the gradient of the cell state",
        "path_ratio": "norm of a path's gradient over that of the cell state",
        "log10_path_gain": "mean log10 gain of the gradient norm along one path",
    }
    arrays = {
        name: xr.DataArray(np.stack(column), coords, tuple(coords), attrs={"long_name": title})
        for (name, title), column in zip(titles.items(), zip(*values, strict=True), strict=True)
    }
    return arrays | _recurrent_norms(trace)


def _through_output(trace: "Trace", c: int) -> Tensor:
    """Gradient that c_t gets through the same step's output, (T, B, S)."""
    hidden = torch.zeros_like(trace.total[c])
    for block in trace.blocks():
        after = trace.replay(block).after
        (total,) = trace.gather(block, trace.total[:1])
        (found,) = torch.autograd.grad(after[0], after[c], total, allow_unused=True)
        if found is not None:  # with zoneout the output never sees the state that was kept
            hidden[block.steps, block.examples] = found
    return hidden


def _compare(part: Tensor, source: Tensor, total: Tensor) -> tuple[np.ndarray, ...]:
    """Mean log10 norm of a path, its share, norm ratio and gain, (T,) each; scaled so that no square underflows."""
    scale = total.abs().amax(-1, keepdim=True).double()
    total, scaled = total / scale, part / scale  # not a number without a gradient
    length = total.norm(dim=-1)
    share = (scaled * total).sum(-1) / length**2
    ratio = scaled.norm(dim=-1) / length
    norm = log10_norm(part)
    return over_examples(norm.cpu()).mean, _mean(share), _mean(ratio), _mean(norm - log10_norm(source))


def _mean(values: Tensor) -> np.ndarray:
    """Mean over the examples, (T, B) to (T,), that have a finite value; NaN where none has."""
    finite = values.isfinite()
    return (values.where(finite, 0.0).sum(1) / finite.sum(1)).cpu().numpy()


def _recurrent_norms(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Spectral norms of the blocks of the recurrent weights."""
    import xarray as xr

    cell, weight = trace.cell, trace.weights.get("weight_hh")
    if weight is None or not cell.gates or weight.shape != (cell.blocks * cell.hidden_size, cell.state_sizes[0]):
        return {}
    blocks = weight.view(cell.blocks, cell.hidden_size, -1)
    finite = blocks.isfinite().all(-1).all(-1)
    norms = torch.linalg.matrix_norm(blocks.where(finite[:, None, None], 0.0), 2).where(finite, torch.nan).cpu().numpy()
    title = "spectral norm of the recurrent weights"
    return {"recurrent_norm": xr.DataArray(norms, {"gate": list(cell.gates)}, ("gate",), attrs={"long_name": title})}
