"""Maps of gates and of saturation over time, and through training where a run was probed."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from rnnlab.common.errors import UserError
from rnnlab.plots.profiles import in_layer, train_steps
from rnnlab.plots.raster import color_bar, explain, raster
from rnnlab.plots.style import FAINT, axes, dress

GATES = ("gate_mean", "gate_open_fraction", "gate_closed_fraction")
NAMES = -34
"""Points from the axes to the names of blocks: beyond the training steps, before the label."""
SATURATION = ("saturated_fraction", "outside_fraction", "mean_slope")


def gate_map(
    probes: xr.Dataset,
    quantity: str = "gate_mean",
    layer: int | None = None,
    direction: str = "forward",
    ax: Axes | None = None,
) -> Axes:
    """Draw how far every gate is open at every time step, from 0, closed, to 1, open.

    A gate has one row, or one a probed training step, the first one lowest; hatched is what was not measured.

    Args:
        probes: from `rnnlab.measure` or `rnnlab.load_probes`, with the probe `gates`.
        quantity: gate_mean, gate_open_fraction or gate_closed_fraction.
        layer: index of the layer; the top of the network if not given.
        direction: `forward` or `reverse`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if the quantity was not measured, or is none of the three.
    """
    chosen = _choose(probes, quantity, GATES, "gates", layer, direction)
    return _map(chosen, probes, "Gates over time", ax)


def saturation_map(
    probes: xr.Dataset,
    quantity: str = "saturated_fraction",
    layer: int | None = None,
    direction: str = "forward",
    ax: Axes | None = None,
) -> Axes:
    """Draw the share of saturated units of every non-linearity at every time step.

    A non-linearity has one row, or one a probed training step, the first one lowest; hatched is what was not measured.

    Args:
        probes: from `rnnlab.measure` or `rnnlab.load_probes`, with the probe `saturation`.
        quantity: saturated_fraction, outside_fraction or mean_slope.
        layer: index of the layer; the top of the network if not given.
        direction: `forward` or `reverse`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if the quantity was not measured, or is none of the three.
    """
    chosen = _choose(probes, quantity, SATURATION, "saturation", layer, direction)
    return _map(chosen, probes, "Saturation over time", ax)


def _choose(
    probes: xr.Dataset, quantity: str, known: tuple[str, ...], probe: str, layer: int | None, direction: str
) -> xr.DataArray:
    """One quantity of one layer in one direction: dims (step, name, time)."""
    if quantity not in known:
        raise UserError(f"quantity = '{quantity}' has no such map: choose from {', '.join(known)}")
    if quantity not in probes:
        raise UserError(f"'{quantity}' was not measured: the cell has none, or the probe '{probe}' did not run")
    chosen = in_layer(probes[[quantity]].sel(direction=direction), layer)[quantity]
    chosen = chosen if "step" in chosen.dims else chosen.expand_dims("step")
    (name,) = set(chosen.dims) - {"step", "time"}
    return chosen.dropna(name, how="all").transpose("step", name, "time")


def _map(chosen: xr.DataArray, probes: xr.Dataset, title: str, ax: Axes | None) -> Axes:
    """A block of rows a name, the first name on top; in it a row a training step, upwards as in every heat map."""
    S, N, T = chosen.shape
    names = [str(name) for name in chosen[str(chosen.dims[1])].values]
    values = chosen.values[:, ::-1].swapaxes(0, 1).reshape(N * S, T)  # the first row is the lowest
    ax = ax or axes(7.2, 1.9 + max(0.3 * N, 0.17 * N * S))
    image = raster(ax, values, 0, 1)
    for border in range(1, N):
        ax.axhline(border * S - 0.5, color="white", linewidth=3)
    if S == 1:
        ax.set_yticks(range(N), names[::-1])
        rows, room = {"gate": "gate", "nonlinearity": "non-linearity"}[str(chosen.dims[1])], 4
    else:
        steps = [f"{step:,}" for step in train_steps(probes)]
        ax.set_yticks(range(N * S), steps * N)
        for place, name in enumerate(names[::-1]):
            middle = place * S + (S - 1) / 2
            ax.annotate(
                name, (0, middle), (NAMES, 0), xycoords=ax.get_yaxis_transform(), textcoords="offset points",
                rotation=90, ha="center", va="center", fontsize=9, color=FAINT, fontweight="bold",
            )  # fmt: skip
        rows, room = "probed training step", 27
    dress(ax, title, "time step", rows, grid=None)
    ax.yaxis.labelpad = room  # for the names
    ax.tick_params(axis="y", labelsize=9 if S == 1 else 7.5)
    explain(ax, missing=bool(np.isnan(values).any()))
    color_bar(ax, image, str(chosen.attrs.get("long_name", chosen.name)))
    return ax
