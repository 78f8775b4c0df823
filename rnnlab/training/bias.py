"""Bias of the gradient: what remedies such as truncation and clipping change about it."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rnnlab.remedies import Remedy, change_gradients
from rnnlab.remedies.truncation import Truncation
from rnnlab.tasks import Batch, Task
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import EncoderDecoder, SequenceModel
from rnnlab.training.side_pass import side_pass

if TYPE_CHECKING:
    import xarray as xr

EVERYTHING = "all"
TITLES = {
    "gradient_cosine": "cosine between the gradient in use and the full one",
    "gradient_ratio": "norm of the gradient in use over that of the full one",
    "gradient_bias": "norm of the difference between the gradient in use and the full one, over that of the full one",
}


def gradient_bias(
    model: SequenceModel | EncoderDecoder,
    task: Task,
    batch: Batch,
    remedies: Sequence[Remedy] = (),
    states: Any = None,
    step: int = 0,
    generator: torch.Generator | None = None,
) -> "xr.Dataset":
    """Compare the gradient ĝ that remedies leave of one batch with the full one g.

    Gradients, running statistics and random streams of the model are as before afterwards, and both gradients are
    taken with the same noise; but where a stack of several layers draws noise inside its steps, windows draw it in
    another order. Costs a full pass and one with the remedies, forward and back.

    Args:
        model: the network, in the phase that it is in.
        task: gives the loss.
        batch: one batch of whole sequences.
        remedies: in order.
        states: those before the first step; zeros if none.
        step: updates done.
        generator: the remedies' source of randomness, which is left as it is.

    Returns:
        `gradient_cosine`, ⟨ĝ, g⟩ / (‖ĝ‖ ‖g‖), `gradient_ratio`, ‖ĝ‖ / ‖g‖, and `gradient_bias`, ‖ĝ - g‖ / ‖g‖: each
        (parameter), the last of which is "all" together. NaN where the full gradient is zero or has overflown.

    Reference: Aicher et al. 2019, "Adaptively Truncating Backpropagation Through Time to Control Gradient Bias", eq. 8.
    """
    import xarray as xr

    def left_by(remedies: Sequence[Remedy]) -> dict[str, Tensor]:
        chance = generator and generator.clone_state()
        with side_pass(model):
            backpropagate(model, task, batch, remedies, states, chance)
            change_gradients(model.parameters(), remedies, step, chance)
            return _gradients(model)

    full, used = left_by(()), left_by(remedies)
    rows = [_compare(used[name], full[name]) for name in full]
    coords = {"parameter": list(full)}
    return xr.Dataset(
        {name: ("parameter", np.array(column), {"long_name": TITLES[name]})
         for name, column in zip(TITLES, zip(*rows, strict=True), strict=True)}, coords
    )  # fmt: skip


def bias_by_window(
    model: SequenceModel | EncoderDecoder, task: Task, batch: Batch, windows: Iterable[int]
) -> "xr.Dataset":
    """Compare the truncated gradients of one batch with the full one, window by window.

    Args:
        model: the network, in the phase that it is in.
        task: gives the loss.
        batch: one batch of whole sequences.
        windows: numbers of time steps that gradients go back.

    Returns:
        What `gradient_bias` gives for each, with a leading dim `window`.
    """
    import pandas as pd
    import xarray as xr

    kept = list(windows)
    each = [gradient_bias(model, task, batch, [Truncation(window=window)]) for window in kept]
    return xr.concat(each, pd.Index(kept, name="window"))


def _gradients(model: nn.Module) -> dict[str, Tensor]:
    """By parameter, flat and in float64, and all of them as one."""
    found = {
        name: (torch.zeros_like(p) if p.grad is None else p.grad).flatten().double()
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    return found | {EVERYTHING: torch.cat(list(found.values()))}


def _compare(used: Tensor, full: Tensor) -> tuple[float, float, float]:
    """Cosine, ratio of norms and relative difference; scaled first, so that no square underflows."""
    scale = full.abs().max()
    used, full = used / scale, full / scale  # not a number where the full gradient is zero
    length, norm = used.norm(), full.norm()
    return float(used @ full / (length * norm)), float(length / norm), float((used - full).norm() / norm)
