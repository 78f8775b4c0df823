"""The gradient profile: every recorded norm in one labelled dataset."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import torch

from rnnlab.common.errors import UserError, check_type
from rnnlab.gradients.decay import Decay, fit_decay
from rnnlab.gradients.norms import Norms

if TYPE_CHECKING:
    import xarray as xr

DIMS = ("step", "layer", "direction", "state")
VARIABLES = {
    "log10_grad_norm": "mean over examples of log10 of the total gradient norm",
    "log10_grad_norm_min": "smallest log10 norm of any example",
    "log10_grad_norm_max": "largest log10 norm of any example",
    "zero_fraction": "share of examples whose gradient is exactly zero",
    "nan_fraction": "share of examples whose gradient is not a number, or infinite",
}
SHARES = {
    "losses": ("loss_fraction", "share of examples whose loss enters at this step"),
    "underflowed": ("underflowed_fraction", "share of examples too small to be measured"),
}
"""Of the examples, by the name that a step has for it."""
_TOLD_BY = {name + suffix: "underflowed_fraction" + suffix for name in VARIABLES for suffix in ("", "_by_lag")}
"""What tells whether a quantity was measured where it has no number."""


STORED = ("norms", "by_lag", "starts", "losses", "losses_by_lag", "underflowed", "underflowed_by_lag")
"""What a checkpoint keeps of a step."""


class Key(NamedTuple):
    """Which state in which call of which layer: layers are counted through the whole model."""

    layer: int
    direction: str
    state: str
    call: int = 0


@dataclass
class Step:
    """Norms of one recorded backward pass by time and by lag, (T,), or per example by time, (T, B)."""

    norms: dict[Key, Norms]
    by_lag: dict[Key, Norms]
    per_example: dict[Key, np.ndarray]
    train_step: int | None
    starts: dict[Key, np.ndarray] = field(default_factory=dict)
    """(T,) mean log10 norm of the state that a call starts from, at its first step."""
    losses: dict[Key, np.ndarray] = field(default_factory=dict)
    """(T,) share of examples whose loss enters there."""
    losses_by_lag: dict[Key, np.ndarray] = field(default_factory=dict)
    underflowed: dict[Key, np.ndarray] = field(default_factory=dict)
    """(T,) share of examples whose gradient was too small to be measured, of the states that have some."""
    underflowed_by_lag: dict[Key, np.ndarray] = field(default_factory=dict)

    def top(self, by_lag: bool = False) -> Norms:
        """Norms of the hidden state at the top of the network, (T,) each; see `rnnlab.gradients.profile.top`."""
        norms, lost = (self.by_lag, self.underflowed_by_lag) if by_lag else (self.norms, self.underflowed)
        layers = [norms[key] for key in self._hidden()]
        known = [~np.isnan(norms[key].zero_fraction) | (lost.get(key, 0) > 0) for key in self._hidden()]
        return Norms(*(_highest(values, known) for values in zip(*layers, strict=True)))

    def decay(self) -> Decay:
        """How the gradient of the hidden state at the top of the network decays with lag."""
        norms, losses = self.top(by_lag=True).mean, [self.losses_by_lag[key] for key in self._hidden()]
        return fit_decay(norms, np.arange(len(norms)), _highest(losses, [~np.isnan(one) for one in losses]))

    def state_dict(self) -> list[Any]:
        """Everything but single examples as tensors and primitives, for a checkpoint."""
        kept = [getattr(self, name) for name in STORED]
        packed = [[[*key, torch.from_numpy(np.array(value))] for key, value in values.items()] for values in kept]
        return [self.train_step, *packed]

    @classmethod
    def of(cls, state: list[Any]) -> Self:
        """The step that `state_dict` wrote."""
        train_step, *packed = state
        norms, by_lag, *shares = ({Key(*key): v.numpy() for *key, v in entries} for entries in packed)
        whole, lagged = ({key: Norms(*values) for key, values in one.items()} for one in (norms, by_lag))
        return cls(whole, lagged, {}, train_step, *shares)

    def _hidden(self) -> list[Key]:
        return [key for key in sorted(self.norms, key=_order) if (key.state, key.direction) == ("h", "forward")]


def build(
    steps: "Sequence[Step]", modules: Sequence[str], loss_reduction_scale: float, per_example: bool
) -> "xr.Dataset":
    """Assemble recorded steps.

    Args:
        steps: in the order of their backward passes.
        modules: name of the module that each layer belongs to.
        loss_reduction_scale: what gradients were multiplied by, kept as an attribute.
        per_example: add `log10_grad_norm_per_example` with a trailing `example` dimension.

    Returns:
        Dataset with dims (step, layer, direction, state, time), and the same `_by_lag` in place of time; NaN where
        nothing was measured. Each call of a layer has its place along `layer`, told apart by the coordinate `call`.
    """
    import xarray as xr

    keys = sorted({key for step in steps for key in step.norms}, key=_order)
    rows = sorted({(key.layer, key.call) for key in keys})
    axes = {
        "layer": rows,
        "direction": [d for d in ("forward", "reverse") if any(key.direction == d for key in keys)],
        "state": list(dict.fromkeys(key.state for key in keys)),
    }
    length = max(
        (len(n.mean) for step in steps for norms in (step.norms, step.by_lag) for n in norms.values()), default=0
    )
    arrays = _arrays("time", "", axes, [step.norms for step in steps], length)
    arrays |= _arrays("lag", "_by_lag", axes, [step.by_lag for step in steps], length)
    arrays["log10_start_norm"] = _starts(axes, steps, length)
    for name in SHARES:
        _add_share(arrays, name, "time", "", axes, [getattr(step, name) for step in steps])
        _add_share(arrays, name, "lag", "_by_lag", axes, [getattr(step, f"{name}_by_lag") for step in steps])
    dataset = xr.Dataset(
        arrays,
        coords={
            "step": np.arange(len(steps)),
            **axes,
            "layer": [layer for layer, _ in rows],
            "module": ("layer", np.array([modules[layer] for layer, _ in rows], dtype=str)),
            "call": ("layer", np.array([call for _, call in rows], dtype=np.int64)),
            "time": np.arange(length),
            "lag": ("lag", np.arange(length), {"long_name": "steps before the last one of each example"}),
        },
        attrs={"loss_reduction_scale": loss_reduction_scale},
    )
    train_steps = [step.train_step for step in steps]
    if steps and None not in train_steps:
        dataset = dataset.assign_coords(train_step=("step", np.array(train_steps, dtype=np.int64)))
    return _with_examples(dataset, steps, axes) if per_example else dataset


def _arrays(
    dim: str, suffix: str, axes: dict[str, list], steps: Sequence[dict[Key, Norms]], length: int
) -> dict[str, tuple]:
    """Variables of all steps along time or lag."""
    shape = (len(steps), *(len(axis) for axis in axes.values()), length)
    arrays = {name: np.full(shape, np.nan) for name in VARIABLES}
    for i, step in enumerate(steps):
        for key, norms in step.items():
            place = (i, *_position(key, axes))
            for array, values in zip(arrays.values(), norms, strict=True):
                array[place][: len(values)] = values
    return {
        name + suffix: ((*DIMS, dim), array, {"long_name": VARIABLES[name] + suffix.replace("_", " ")})
        for name, array in arrays.items()
    }


def _starts(axes: dict[str, list], steps: Sequence[Step], length: int) -> tuple:
    """Norms of the states that calls start from."""
    array = np.full((len(steps), *(len(axis) for axis in axes.values()), length), np.nan)
    for i, step in enumerate(steps):
        for key, values in step.starts.items():
            array[(i, *_position(key, axes))][: len(values)] = values
    title = "mean log10 norm of the gradient of the state that a call starts from, where it starts"
    return (*DIMS, "time"), array, {"long_name": title}


def _add_share(
    arrays: dict[str, tuple],
    name: str,
    dim: str,
    suffix: str,
    axes: dict[str, list],
    steps: Sequence[dict[Key, np.ndarray]],
) -> None:
    """Add a share of the examples, which is zero where none is noted of what was measured."""
    _, measured, _ = arrays[f"zero_fraction{suffix}"]
    shares = np.where(np.isnan(measured), np.nan, 0.0)
    for i, step in enumerate(steps):
        for key, share in step.items():
            shares[(i, *_position(key, axes))][: len(share)] = share
    variable, title = SHARES[name]
    arrays[variable + suffix] = (*DIMS, dim), shares, {"long_name": title + suffix.replace("_", " ")}


def _with_examples(dataset: "xr.Dataset", steps: "Sequence[Step]", axes: dict[str, list]) -> "xr.Dataset":
    """Add the norms of every example; batches of different size are padded with NaN."""
    width = max((values.shape[1] for step in steps for values in step.per_example.values()), default=0)
    array = np.full((*dataset["log10_grad_norm"].shape, width), np.nan)
    for i, step in enumerate(steps):
        for key, values in step.per_example.items():
            array[(i, *_position(key, axes))][: values.shape[0], : values.shape[1]] = values
    return dataset.assign(log10_grad_norm_per_example=((*DIMS, "time", "example"), array))


def _position(key: "Key", axes: dict[str, list]) -> tuple[int, ...]:
    places = ((key.layer, key.call), key.direction, key.state)
    return tuple(axis.index(place) for axis, place in zip(axes.values(), places, strict=True))


def _order(key: "Key") -> tuple[int, int, str, bool, str]:
    return key.layer, key.call, key.direction, key.state != "h", key.state


def top(measured: "xr.Dataset") -> "xr.Dataset":
    """The top of a network: of every quantity, at every place, the highest layer in which it was measured there.

    In a plain stack that is the last layer. With a decoder it is the encoder while that reads and the decoder from then
    on, so that one curve follows the gradient all the way back to the first input.

    Args:
        measured: a gradient profile, or what probes measured, with the dim layer, the lowest layer first.

    Returns:
        The same without that dim.

    Raises:
        UserError: if it is no such dataset.
    """
    import xarray as xr

    check_type("measured", measured, xr.Dataset)
    if "layer" not in measured.dims:
        raise UserError("measured has no dim layer, of which the top could be taken: give a profile before `squeeze`")
    found = measured.isel(layer=0, drop=True)
    for name in measured.data_vars:
        # A gradient of exactly zero has no logarithm, and what underflowed no value: both are the top's all the same.
        told_by = _TOLD_BY.get(str(name), name)
        values, told_by = measured.variables[name], measured.variables[told_by if told_by in measured else name]
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
