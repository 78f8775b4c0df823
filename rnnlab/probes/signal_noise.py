"""Signal and noise: whether the examples of a batch agree about the gradient."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.probes.base import probe
from rnnlab.probes.contribution import weight_gradients
from rnnlab.probes.trace import Block

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace


@probe("standard", cost="T B S²")
def signal_noise(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Squared norm of the mean gradient over the variance between examples, and coherence of dL/ds_t.

    For each weight ‖ḡ‖² / tr Cov(g_b), with g_b = dL_b/dW of one example, ḡ their mean, and the covariance that
    divides by B - 1. Examples that have nothing in common still give about 1/B. The reciprocal is the simple noise
    scale, the batch size at which signal and noise are equal. Coherence ‖Σ_b g_b‖ / Σ_b ‖g_b‖ of the total gradient
    at every time step is 1 where all examples pull the same way and about 1/√B where they pull at random.

    Neither depends on the scale of the loss. Where batch norm in training couples the examples, there is no gradient
    of one example and nothing is returned. Weights that no step reads are left out, as in `contribution`.

    Args:
        trace: one direction of one layer.

    Returns:
        `gradient_signal_noise`: (weight); NaN for a single example or a gradient of zero. `gradient_coherence`:
        (state, time); NaN where no example has a gradient.

    Reference: McCandlish et al. 2018, "An Empirical Model of Large-Batch Training", eq. 2.9.
    """
    import xarray as xr

    if trace.mixes_examples:
        return {}
    ratios = _signal_to_noise(trace)
    coherence = np.stack([_coherence(trace.in_time(total)) for total in trace.total])
    states = {"state": list(trace.cell.states), "time": trace.time}
    attrs = {"long_name": "squared norm of the mean gradient over its variance between examples"}
    weights = {"weight": list(ratios)}
    return {
        "gradient_signal_noise": xr.DataArray(np.array(list(ratios.values())), weights, ("weight",), attrs=attrs),
        "gradient_coherence": xr.DataArray(
            coherence, states, ("state", "time"), attrs={"long_name": "coherence of the gradient over examples"}
        ),
    }


def _signal_to_noise(trace: "Trace") -> dict[str, float]:
    """By weight; mean and variance are updated example by example, without differences of large sums."""
    scale = max(float(adjoint.abs().max()) for adjoint in trace.adjoints)  # keeps squares within their range
    means: dict[str, Tensor] = {}
    spreads: dict[str, float] = {}
    for b in range(trace.batch_size):
        for name, gradient in _example_gradients(trace, b).items():
            gradient = gradient.double() / scale
            mean = means.setdefault(name, torch.zeros_like(gradient))
            away = gradient - mean
            mean += away / (b + 1)
            spreads[name] = spreads.get(name, 0.0) + float((away * (gradient - mean)).sum())
    signals = {name: np.float64(mean.square().sum().item()) for name, mean in means.items()}
    with np.errstate(invalid="ignore", divide="ignore"):
        return {name: signal / (np.float64(spreads[name]) / (trace.batch_size - 1)) for name, signal in signals.items()}


def _example_gradients(trace: "Trace", b: int) -> dict[str, Tensor]:
    """dL_b/dW of one example, by weight."""
    sums: dict[str, Tensor] = {}
    for block in trace.blocks():
        own = block.examples == b
        if own.any():
            parts = weight_gradients(trace, Block(block.steps[own], block.examples[own], block.t))
            sums = {name: sums[name] + part if name in sums else part for name, part in parts.items()}
    return sums


def _coherence(gradient: Tensor) -> np.ndarray:
    """(T,) from (T, B, S); scaled so that no square underflows."""
    gradient = gradient.nan_to_num(0.0, torch.inf, -torch.inf)  # examples that have ended add nothing
    scale = gradient.abs().amax((1, 2), keepdim=True)
    scaled = (gradient / scale).double()  # not a number where there is no gradient, or an overflown one
    return (scaled.sum(1).norm(dim=-1) / scaled.norm(dim=-1).sum(1)).cpu().numpy()
