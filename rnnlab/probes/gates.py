"""Gates: how far they are open, and the time constants that follow."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.probes.base import probe

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Block, Trace

OPEN, CLOSED = 0.9, 0.1
"""Values above and below which a gate counts as open and as closed."""


@probe("standard", cost="T B S²")
def gates(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Mean of every gate, shares above 0.9 and below 0.1, and mean log10, which adds up over time.

    The gate f that multiplies the old state, the forget or the update gate, forgets with time constant 1 / (1 - f):
    in free decay the state, and with it the gradient along it, shrinks by f at every step, log10 f decades. In a
    minimal gated unit what multiplies the old state is 1 minus the gate. Logarithms are taken of the pre-activations,
    so that a gate that rounds to 0 or 1 still has one. Averages run over units and active examples.

    Args:
        trace: one direction of one layer; a cell without gates gives no variables.

    Returns:
        `gate_mean`, `gate_open_fraction`, `gate_closed_fraction`, `log10_gate`: (gate, time); `log10_time_constant`:
        (time), mean log10 of 1 / (1 - f) in steps of the scan, for cells with such a gate.

    Reference: Tallec and Ollivier 2018, "Can Recurrent Neural Networks Warp Time?", section 2; open and closed as in
    Karpathy et al. 2015, "Visualizing and Understanding Recurrent Networks", section 4.2, who call them saturated.
    """
    import xarray as xr

    parts: dict[str, list[tuple[Block, Tensor]]] = {}
    for block in trace.blocks():
        for name, note in trace.replay(block).gates.items():
            parts.setdefault(name, []).append((block, note.before))
    if not parts:
        return {}
    pre_activations = {name: trace.place(rows).flatten(1) for name, rows in parts.items()}  # (T, B*H) each
    columns = zip(*(_openness(z) for z in pre_activations.values()), strict=True)
    time = {"time": trace.time}
    titles = {
        "gate_mean": "mean of the gate",
        "gate_open_fraction": f"share of gates above {OPEN}",
        "gate_closed_fraction": f"share of gates below {CLOSED}",
        "log10_gate": "mean log10 of the gate",
    }
    arrays = {
        name: xr.DataArray(np.stack(column), {"gate": list(parts)} | time, ("gate", "time"), attrs={"long_name": title})
        for (name, title), column in zip(titles.items(), columns, strict=True)
    }
    for name, sign in list(trace.cell.time_gates.items())[:1]:  # the first acts on the old state
        if name in pre_activations:
            constant = _mean(-log10_sigmoid(-sign * pre_activations[name]))
            attrs = {"long_name": "mean log10 of the time constant", "units": "log10 steps"}
            arrays["log10_time_constant"] = xr.DataArray(constant, time, ("time",), attrs=attrs)
    return arrays


def log10_sigmoid(z: Tensor) -> Tensor:
    """log10 σ(z) without rounding σ to 0 or 1."""
    return F.logsigmoid(z.double()) / math.log(10)


def _openness(z: Tensor) -> tuple[np.ndarray, ...]:
    """Mean, open and closed share, and mean log10 of one gate, (T,) each, from pre-activations (T, B*H)."""
    gate, nothing = torch.sigmoid(z).double(), z.isnan()
    shares = ((gate > OPEN), (gate < CLOSED))
    opened, closed = (_mean(share.double().masked_fill(nothing, torch.nan)) for share in shares)
    return _mean(gate), opened, closed, _mean(log10_sigmoid(z))


def _mean(values: Tensor) -> np.ndarray:
    """Mean over units and active examples, (T, B*H) to (T,); NaN where none is active."""
    return values.nanmean(1).cpu().numpy()
