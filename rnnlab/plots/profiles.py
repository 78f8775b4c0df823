"""What figures of gradient profiles share: which part of a profile they draw, and how they name it."""

import numpy as np
import xarray as xr

from rnnlab.common.errors import UserError
from rnnlab.gradients.profile import top

BY_LAG = "log10_grad_norm_by_lag"
DECADES = 12
"""How far below the largest norm a figure reaches, unless told otherwise."""


def select(profile: xr.Dataset, state: str, layer: int | None, direction: str) -> xr.Dataset:
    """Choose one state of one layer, or of the top of the network, in one direction: dims (step, time).

    Raises:
        UserError: if the profile has no such state, layer or direction, or no recorded step.
    """
    for name, value in {"state": state, "direction": direction}.items():
        if value not in profile[name].values:
            known = ", ".join(str(item) for item in profile[name].values)
            raise UserError(f"{name} = '{value}' was not recorded: choose from {known}")
    if not profile.sizes["step"]:
        raise UserError("the profile holds no recorded step: record with recording.points above 0")
    return in_layer(profile.sel(state=state, direction=direction), layer)


def in_layer(measured: xr.Dataset, layer: int | None) -> xr.Dataset:
    """The part of a profile, or of what probes measured, in one layer, or at the top of the network.

    Raises:
        UserError: if there is no such layer.
    """
    if layer is None:
        return top(measured)
    layers = measured.sizes["layer"]
    if not -layers <= layer < layers:
        raise UserError(
            f"layer = {layer} was not recorded: choose from 0 to {layers - 1}, or leave it out for the network's top"
        )
    return measured.isel(layer=layer)


def train_steps(profile: xr.Dataset) -> np.ndarray:
    """The training step of every recorded step, or its number where the training step is unknown."""
    return profile["train_step" if "train_step" in profile.coords else "step"].values


def finite(profile: xr.Dataset, name: str = "log10_grad_norm") -> np.ndarray:
    """log10 norms with NaN for whatever is no number: not measured, zero, overflown."""
    norms = profile[name].values
    return np.where(np.isfinite(norms), norms, np.nan)


def vanished(profile: xr.Dataset) -> np.ndarray:
    """Where the gradient was exactly zero for every example."""
    return profile["zero_fraction"].values == 1


def norm_label(state: str) -> str:
    """The quantity, for an axis or a colour bar."""
    return rf"$\log_{{10}}\,\|\partial L\,/\,\partial {state}_t\|$"


def title(profile: xr.Dataset, layer: int | None, direction: str, state: str) -> str:
    """What is shown, naming only what the profile has several of."""
    what = {"h": "hidden state", "c": "cell state"}.get(state, state)
    parts = [f"Total gradient norm of the {what}"]
    if profile.sizes["layer"] > 1:
        parts.append("top layer" if layer is None else layer_name(profile, layer))
    if profile.sizes["direction"] > 1:
        parts.append(direction)
    return ", ".join(parts)


def layer_name(profile: xr.Dataset, place: int) -> str:
    """A place along `layer` in words, with its call where the layer was called several times."""
    layer, call = (int(profile[name].values[place]) for name in ("layer", "call"))
    return f"layer {layer}, call {call}" if (profile["call"] > 0).any() else f"layer {layer}"


def steps_back(count: int) -> str:
    """A number of time steps in words."""
    return f"{count} time step{'s' * (count != 1)}"
