"""Contribution of every time step to the gradient of the weights."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells import Weights
from rnnlab.gradients.norms import log10_norm
from rnnlab.probes.base import probe
from rnnlab.probes.trace import Block, leaf

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

TITLES = {
    "log10_contribution": "log10 norm of one step's contribution to dL/dW",
    "contribution_share": "share of dL/dW from this lag and below",
    "contribution_cosine": "cosine between dL/dW and its part from this lag and below",
    "contribution_ratio": "norm of the part of dL/dW from this lag and below, as a share",
}


class _Row(NamedTuple):
    """One weight at one lag, in the order of `TITLES`."""

    log10_norm: float
    share: float
    cosine: float
    ratio: float


@probe("standard", cost="T B S²")
def contribution(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Contribution c_t of every time step to dL/dW, summed over the batch, and what the last steps make up together.

    dL/dW = Σ_t c_t with c_t = (∂s_t/∂W)ᵀ λ_t, λ_t the gradient at the states that step t hands on and ∂ through that
    step alone. With S_n the sum over the last n steps: share ⟨S_n, dL/dW⟩ / ‖dL/dW‖², cosine, and ratio
    ‖S_n‖ / ‖dL/dW‖. For a loss at the last step S_n is the gradient of back-propagation truncated to n steps.

    Weights that no step reads, such as those of a readout inside the cell, are left out; so are all where statistics
    are kept per time step and the examples differ in length (their last steps cannot be taken together), and input
    weights where statistics run over the whole sequence. Of a constrained weight it is the gradient of the weight as
    the equations see it.

    Args:
        trace: one direction of one layer.

    Returns:
        `log10_contribution`, `contribution_share`, `contribution_cosine`, `contribution_ratio`: (weight, lag), where
        lag k is n = k + 1 steps, counted from the last step of each example in the direction of the scan.
        `steps_for_half`, `steps_for_90`: (weight), the smallest n whose share reaches 50% and 90%. NaN where dL/dW is
        zero.

    Reference: Pascanu et al. 2013, "On the Difficulty of Training Recurrent Neural Networks", eq. 4.
    """
    import xarray as xr

    blocks = _blocks_by_lag(trace)
    if not blocks:
        return {}
    rows = _rows(trace, blocks)
    values = np.array(list(rows.values()))  # (weight, lag, quantity)
    weight = {"weight": list(rows)}
    axes = (weight | {"lag": np.arange(trace.steps)}, ("weight", "lag"))
    arrays = {
        name: xr.DataArray(values[..., i], *axes, attrs={"long_name": title})
        for i, (name, title) in enumerate(TITLES.items())
    }
    for name, share in {"steps_for_half": 0.5, "steps_for_90": 0.9}.items():
        reached = values[..., 1] >= share
        steps = np.where(reached.any(1), reached.argmax(1) + 1.0, np.nan)
        title = f"fewest last steps that make up {share:.0%} of dL/dW"
        arrays[name] = xr.DataArray(steps, weight, ("weight",), attrs={"long_name": title, "units": "steps"})
    return arrays


def weight_gradients(trace: "Trace", block: Block) -> dict[str, Tensor]:
    """Contribution of a block's steps to the gradient of every weight that they or their inputs read.

    Args:
        trace: one direction of one layer.
        block: rows that make up whole steps where examples are coupled.

    Returns:
        Gradients by the weight's name, summed over the rows.
    """
    names = [name for name in trace.weights if name not in trace.cell.buffer_shapes(0)]
    replay = trace.replay(block)
    leaves = [replay.w.tensors[name] for name in names]
    *found, delta = torch.autograd.grad(
        replay.after, [*leaves, replay.u], trace.gather(block, trace.adjoints), allow_unused=True
    )
    from_input = _through_projection(trace, block, names, delta)
    both = {name: [g for g in pair if g is not None] for name, *pair in zip(names, found, from_input, strict=True)}
    return {name: torch.stack(parts).sum(0) for name, parts in both.items() if parts}


def _through_projection(trace: "Trace", block: Block, names: list[str], delta: Tensor) -> tuple[Tensor | None, ...]:
    """Carry gradients at the projected inputs of a block on to the weights that project them."""
    if trace.training and trace.cell.couples_inputs:
        return (None,) * len(names)
    kept = trace.cell.buffer_shapes(0)
    w = Weights({name: t.clone() if name in kept else leaf(t) for name, t in trace.weights.items()}, trace.training)
    with torch.enable_grad():
        u = trace.cell.project(w, trace.x[block.steps, block.examples].unsqueeze(0), block.t)  # one step of N rows
    return torch.autograd.grad(u, [w.tensors[name] for name in names], delta.unsqueeze(0), allow_unused=True)


def _blocks_by_lag(trace: "Trace") -> list[Block]:
    """The last step of all examples, the last but one, and so on."""
    lengths = trace.lengths
    if trace.cell.couples_examples and lengths.min() < trace.steps:
        return []
    blocks = []
    for lag in range(trace.steps):
        (examples,) = (lengths > lag).nonzero(as_tuple=True)
        blocks.append(Block(lengths[examples] - 1 - lag, examples, trace.start + trace.steps - 1 - lag))
    return blocks


def _rows(trace: "Trace", blocks: list[Block]) -> dict[str, list[_Row]]:
    """Compare the running sum over the blocks with the sum over all, for every weight."""
    whole: dict[str, Tensor] = {}
    for block in blocks:
        _add(whole, weight_gradients(trace, block))
    sums = {name: torch.zeros_like(gradient) for name, gradient in whole.items()}
    rows: dict[str, list[_Row]] = {name: [] for name in whole}
    for block in blocks:
        parts = weight_gradients(trace, block)
        _add(sums, parts)
        for name, part in parts.items():
            rows[name].append(_compare(part, sums[name], whole[name]))
    return rows


def _add(sums: dict[str, Tensor], parts: dict[str, Tensor]) -> None:
    """Add up in double precision."""
    for name, part in parts.items():
        sums[name] = sums[name] + part if name in sums else part.double()


def _compare(part: Tensor, partial: Tensor, whole: Tensor) -> _Row:
    """One row; scaled first, so that no square underflows."""
    scale = whole.abs().max()
    partial, whole = (partial / scale).flatten(), (whole / scale).flatten()
    product, length, full = partial @ whole, partial.norm(), whole.norm()
    return _Row(
        float(log10_norm(part.flatten())),
        float(product / full**2),
        float(product / (length * full)),
        float(length / full),
    )
