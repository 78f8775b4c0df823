"""Saturation: non-linearities that have become flat, so that no gradient passes them."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells.weights import Note
from rnnlab.probes.base import probe

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Block, Trace

FLAT = 0.05
"""Slope below which a unit counts as saturated."""
WIDE = 4.0
"""Pre-activations beyond this bound lie outside: the slope of a sigmoid there is below 0.018, that of a tanh 0.0014."""
QUANTILES = [0.0, 0.01, 0.5, 0.99, 1.0]


@probe("standard", cost="T B S²")
def saturation(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Share of units with a flat slope |φ'(z)| < 0.05, share of pre-activations outside [-4, 4], and their spread.

    Shares, means and quantiles run over the units of all examples that are active at a step. Units count whose
    non-linearity works element by element: gates σ(z) and activations φ(z) under the names that the cell gives them.
    A cell without such a non-linearity, such as the unitary one, gives no variables.

    Args:
        trace: one direction of one layer.

    Returns:
        `saturated_fraction`, `outside_fraction`, `mean_slope`: (nonlinearity, time); `pre_activation`, its minimum,
        1%, 50% and 99% quantiles and maximum: (quantile, nonlinearity, time).

    Reference: Glorot and Bengio 2010, "Understanding the Difficulty of Training Deep Feedforward Neural Networks",
    section 3; for gates Karpathy et al. 2015, "Visualizing and Understanding Recurrent Networks", section 4.2.
    """
    import xarray as xr

    parts: dict[str, list[tuple[Block, Tensor]]] = {}
    for block in trace.blocks():
        replay = trace.replay(block)
        for name, note in (replay.gates | replay.activations).items():
            parts.setdefault(name, []).append((block, torch.stack([note.before.detach(), slope(note)])))
    if not parts:
        return {}
    coords = {"nonlinearity": list(parts), "time": trace.time}
    columns = zip(*(_spread(trace, rows) for rows in parts.values()), strict=True)
    flat, outside, mean, quantiles = (np.stack(column, -2) for column in columns)  # (..., nonlinearity, time)
    arrays = {
        "saturated_fraction": (flat, f"share of units with a slope below {FLAT}", {"threshold": FLAT}),
        "outside_fraction": (outside, f"share of pre-activations outside [-{WIDE:g}, {WIDE:g}]", {"threshold": WIDE}),
        "mean_slope": (mean, "mean slope of the non-linearity", {}),
    }
    named = {
        name: xr.DataArray(values, coords, tuple(coords), attrs={"long_name": title, **attrs})
        for name, (values, title, attrs) in arrays.items()
    }
    spread = {"quantile": QUANTILES} | coords
    attrs = {"long_name": "quantiles of the pre-activations"}
    return named | {"pre_activation": xr.DataArray(quantiles, spread, tuple(spread), attrs=attrs)}


def slope(note: Note) -> Tensor:
    """|φ'(z)| of every unit, (N, H)."""
    (found,) = torch.autograd.grad(note.after, note.before, torch.ones_like(note.after), retain_graph=True)
    return found.abs()


def _spread(trace: "Trace", parts: "list[tuple[Block, Tensor]]") -> tuple[np.ndarray, ...]:
    """Shares of flat and of outside units and mean slope, (T,), and quantiles of z, (Q, T), of one non-linearity."""
    placed = trace.place([(block, both.movedim(0, 1)) for block, both in parts])  # (T, B, 2, H)
    z, slopes = placed.movedim(2, 0).flatten(2)  # (T, B*H) each
    known = (~z.isnan()).sum(1)  # comparisons with NaN are false, 0 / 0 is NaN

    def share(where: Tensor) -> np.ndarray:
        return (where.sum(1).double() / known).cpu().numpy()

    q = torch.tensor(QUANTILES, dtype=z.dtype, device=z.device)
    quantiles = torch.stack([row.nanquantile(q) for row in z], 1)
    return (
        share(slopes < FLAT),
        share(z.abs() > WIDE),
        slopes.double().nanmean(1).cpu().numpy(),
        quantiles.double().cpu().numpy(),
    )
