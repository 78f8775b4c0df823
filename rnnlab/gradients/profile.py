"""The gradient profile: every recorded norm in one labelled dataset."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
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
    underflowed: dict[Key, np.ndarray] = field(default_factory=dict)
    """(T,) share of examples whose gradient was too small to be measured, of the states that have some."""

    def top(self, state: str = "h", direction: str = "forward") -> Norms:
        """Norms of one state at the top of the network, (T,) each; see `rnnlab.gradients.profile.top`."""
        keys = [key for key in sorted(self.norms) if (key.state, key.direction) == (state, direction)]
        layers = [self.norms[key] for key in keys]
        known = [~np.isnan(self.norms[key].zero_fraction) | (self.underflowed.get(key, 0) > 0) for key in keys]
        return Norms(*(_highest(values, known) for values in zip(*layers, strict=True)))


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
    too_small = np.where(np.isnan(arrays["zero_fraction"]), np.nan, 0.0)
    for i, step in enumerate(steps):
        for key, share in step.underflowed.items():
            too_small[(i, *_position(key, axes))][: len(share)] = share
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
    dataset["underflowed_fraction"] = DIMS, too_small, {"long_name": "share of examples too small to be measured"}
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


def top(measured: xr.Dataset) -> xr.Dataset:
    """The top of a network: of every quantity, at every place, the highest layer in which it was measured there.

    In a plain stack that is the last layer. With a decoder it is the encoder while that reads and the decoder from then
    on, so that one curve follows the gradient all the way back to the first input.

    Args:
        measured: a gradient profile, or what probes measured, with the dim layer, the lowest layer first.

    Returns:
        The same without that dim.
    """
    found = measured.isel(layer=0, drop=True)
    told = "underflowed_fraction" if "underflowed_fraction" in measured else "zero_fraction"
    for name in measured.data_vars:
        # What is exactly zero has no logarithm, and what underflowed no value: both are the top's all the same.
        values, told_by = (measured.variables[each] for each in (name, told if name in VARIABLES else name))
        if "layer" in values.dims:
            known = np.moveaxis(told_by.notnull().values, told_by.get_axis_num("layer"), 0)
            found[name].values = _highest(np.moveaxis(values.values, values.get_axis_num("layer"), 0), known)
    return found


def _highest(layers: Iterable[np.ndarray], known: Iterable[np.ndarray]) -> np.ndarray:
    """Of the values in every layer, the lowest first, the last one that is known; those of the first if none is."""
    found, *higher = layers
    for values, there in zip(higher, list(known)[1:], strict=True):
        found = np.where(there, values, found)
    return found
