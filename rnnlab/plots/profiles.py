"""What figures of gradient profiles share: which part of a profile they draw, and how they name it."""

import numpy as np
import xarray as xr

from rnnlab.common.errors import UserError

DECADES = 12
"""How far below the largest norm a figure reaches, unless told otherwise."""


def select(profile: xr.Dataset, state: str, layer: int, direction: str) -> xr.Dataset:
    """Choose one state of one layer in one direction: dims (step, time).

    Raises:
        UserError: if the profile has no such state, layer or direction, or no recorded step.
    """
    for name, value in {"state": state, "direction": direction}.items():
        if value not in profile[name].values:
            known = ", ".join(str(item) for item in profile[name].values)
            raise UserError(f"{name} = '{value}' was not recorded: choose from {known}")
    if not profile.sizes["step"]:
        raise UserError("the profile holds no recorded step: record with recording.points above 0")
    layers = profile.sizes["layer"]
    if not -layers <= layer < layers:
        raise UserError(f"layer = {layer} was not recorded: choose from 0 to {layers - 1}, or -1 for the last")
    return profile.isel(layer=layer).sel(state=state, direction=direction)


def train_steps(profile: xr.Dataset) -> np.ndarray:
    """The training step of every recorded step, or its number where the training step is unknown."""
    return profile["train_step" if "train_step" in profile.coords else "step"].values


def finite(profile: xr.Dataset) -> np.ndarray:
    """log10 norms with NaN for whatever is no number: not measured, zero, overflown."""
    norms = profile["log10_grad_norm"].values
    return np.where(np.isfinite(norms), norms, np.nan)


def vanished(profile: xr.Dataset) -> np.ndarray:
    """Where the gradient was exactly zero for every example."""
    return profile["zero_fraction"].values == 1


def norm_label(state: str) -> str:
    """The quantity, for an axis or a colour bar."""
    return rf"$\log_{{10}}\,\|\partial L\,/\,\partial {state}_t\|$"


def title(profile: xr.Dataset, layer: int, direction: str, state: str) -> str:
    """What is shown, naming only what the profile has several of."""
    what = {"h": "hidden state", "c": "cell state"}.get(state, state)
    parts = [f"Total gradient norm of the {what}"]
    if profile.sizes["layer"] > 1:
        parts.append(f"layer {int(profile['layer'].values[layer])}")
    if profile.sizes["direction"] > 1:
        parts.append(direction)
    return ", ".join(parts)


def steps_back(count: int) -> str:
    """A number of time steps in words."""
    return f"{count} time step{'s' * (count != 1)}"
