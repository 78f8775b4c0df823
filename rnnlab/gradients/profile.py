"""The gradient profile: every recorded norm in one labelled dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr

from rnnlab.gradients.norms import Norms

DIMS = ("step", "layer", "direction", "state", "time")
VARIABLES = {
    "log10_grad_norm": "mean over examples of log10 of the total gradient norm",
    "log10_grad_norm_min": "smallest log10 norm of any example",
    "log10_grad_norm_max": "largest log10 norm of any example",
    "zero_fraction": "share of examples whose gradient is exactly zero",
}


class Key(NamedTuple):
    """Which state of which layer: layers are counted through the whole model."""

    layer: int
    direction: str
    state: str


@dataclass
class Step:
    """Norms of one recorded backward pass, (T,) or per example (T, B)."""

    norms: dict[Key, Norms]
    per_example: dict[Key, np.ndarray]
    train_step: int | None


def build(steps: "Sequence[Step]", loss_reduction_scale: float, per_example: bool) -> xr.Dataset:
    """Assemble recorded steps.

    Args:
        steps: in the order of their backward passes.
        loss_reduction_scale: what gradients were multiplied by, kept as an attribute.
        per_example: add `log10_grad_norm_per_example` with a trailing `example` dimension.

    Returns:
        Dataset with dims (step, layer, direction, state, time); NaN where nothing was measured.
    """
    keys = sorted({key for step in steps for key in step.norms}, key=_order)
    axes = {
        "layer": sorted({key.layer for key in keys}),
        "direction": [d for d in ("forward", "reverse") if any(key.direction == d for key in keys)],
        "state": list(dict.fromkeys(key.state for key in keys)),
    }
    length = max((len(norms.mean) for step in steps for norms in step.norms.values()), default=0)
    shape = (len(steps), *(len(axis) for axis in axes.values()), length)
    arrays = {name: np.full(shape, np.nan) for name in VARIABLES}
    for i, step in enumerate(steps):
        for key, norms in step.norms.items():
            place = (i, *_position(key, axes))
            for array, values in zip(arrays.values(), norms, strict=True):
                array[place][: len(values)] = values
    dataset = xr.Dataset(
        {name: (DIMS, array, {"long_name": VARIABLES[name]}) for name, array in arrays.items()},
        coords={
            "step": np.arange(len(steps)),
            **axes,
            "time": np.arange(length),
            "lag": ("time", np.arange(length)[::-1].copy(), {"long_name": "distance to the last step"}),
        },
        attrs={"loss_reduction_scale": loss_reduction_scale},
    )
    train_steps = [step.train_step for step in steps]
    if steps and None not in train_steps:
        dataset = dataset.assign_coords(train_step=("step", np.array(train_steps, dtype=np.int64)))
    return _with_examples(dataset, steps, axes) if per_example else dataset


def _with_examples(dataset: xr.Dataset, steps: "Sequence[Step]", axes: dict[str, list]) -> xr.Dataset:
    """Add the norms of every example; batches of different size are padded with NaN."""
    width = max((values.shape[1] for step in steps for values in step.per_example.values()), default=0)
    array = np.full((*dataset["log10_grad_norm"].shape, width), np.nan)
    for i, step in enumerate(steps):
        for key, values in step.per_example.items():
            array[(i, *_position(key, axes))][: values.shape[0], : values.shape[1]] = values
    return dataset.assign(log10_grad_norm_per_example=((*DIMS, "example"), array))


def _position(key: "Key", axes: dict[str, list]) -> tuple[int, ...]:
    return tuple(axis.index(getattr(key, name)) for name, axis in axes.items())


def _order(key: "Key") -> tuple[int, str, bool, str]:
    return key.layer, key.direction, key.state != "h", key.state


def top(layers: Sequence[Norms]) -> Norms:
    """Take at every time step the top layer that was measured there.

    Args:
        layers: norms over (T,) steps, the lowest layer first.

    Returns:
        Those of the last layer in a plain stack. With a decoder, the encoder's while it reads and the decoder's from
        then on, so that one curve follows the gradient all the way back to the first input.
    """
    found = layers[0]
    for layer in layers[1:]:
        measured = ~np.isnan(layer.zero_fraction)
        found = Norms(*(np.where(measured, new, old) for new, old in zip(layer, found, strict=True)))
    return found
