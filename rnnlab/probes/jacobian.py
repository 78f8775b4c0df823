"""Jacobian of single steps: how much one step back can stretch or shrink a gradient."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.gradients.norms import over_examples
from rnnlab.probes.base import probe
from rnnlab.probes.trace import Block

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

EXAMPLES = 4
"""Examples whose Jacobians are computed, the longest ones first: a Jacobian costs S times a step back."""
POINTS = 100
"""Time steps at most, evenly spread, whose eigenvalues are computed."""


@probe("full", cost="E min(T, 100) S³")
def jacobian(trace: "Trace") -> "dict[str, xr.DataArray]":
    """Spectral norm σ_max and spectral radius |λ|_max of the Jacobian J_t = ds_t/ds_{t-1} of single steps.

    s_t are all states of a step together, S units: of an LSTM h and c. A gradient that passes step t backwards grows at
    most by σ_max; where the same J acts again and again its growth tends to |λ|_max. J_t is taken for the first four
    examples, the longest ones of a padded batch, at up to 100 steps; the others are NaN. In a dilated layer J_t leads
    from s_{t-d}. Where examples are coupled, as by batch norm in training, there is no Jacobian for each and nothing is
    returned.

    Args:
        trace: one direction of one layer.

    Returns:
        `log10_spectral_norm` and `log10_spectral_radius`, mean over examples, with `_min` and `_max`: (time).

    Reference: Pascanu et al. 2013, "On the Difficulty of Training Recurrent Neural Networks", section 2.1.
    """
    import xarray as xr

    if trace.couples_examples:
        return {}
    found = torch.full((trace.steps, trace.batch_size, 2), torch.nan, dtype=torch.float64)
    for k, rows, jacobians in sampled_jacobians(trace):
        found[k, rows] = _log10_extremes(jacobians).cpu()
    arrays, time = {}, {"time": trace.time}
    titles = {"log10_spectral_norm": "spectral norm", "log10_spectral_radius": "spectral radius"}
    for (name, title), logs in zip(titles.items(), trace.order.restore(found).unbind(-1), strict=True):
        low_high = zip(("", "_min", "_max"), ("mean", "smallest", "largest"), over_examples(logs)[:3], strict=True)
        for suffix, which, values in low_high:
            attrs = {"long_name": f"{which} log10 {title} of one step's Jacobian"}
            arrays[name + suffix] = xr.DataArray(values, time, ("time",), attrs=attrs)
    return arrays


def sampled_jacobians(trace: "Trace") -> Iterator[tuple[int, Tensor, Tensor]]:
    """Steps that are looked at, their rows and the Jacobians of these, (E, S, S) in float64."""
    precise = in_double(trace)
    for k in np.linspace(0, trace.steps - 1, min(POINTS, trace.steps)).round().astype(int).tolist():
        rows = first_examples(trace, k)
        yield k, rows, step_jacobian(precise, k, rows)


def in_double(trace: "Trace") -> "Trace":
    """The same steps to take again in float64: a Jacobian's small singular values are differences of large numbers."""
    return replace(
        trace,
        weights={name: tensor.double() for name, tensor in trace.weights.items()},
        noise=[noise.double() for noise in trace.noise],
        x=trace.x.double(),
        u=trace.u.double(),
        before=tuple(state.double() for state in trace.before),
    )


def first_examples(trace: "Trace", k: int) -> Tensor:
    """Rows of the examples to compute Jacobians for that are active at step k of the scan."""
    return torch.arange(min(EXAMPLES, trace.sizes[k]))


def example_labels(trace: "Trace") -> list[int]:
    """Which of the caller's examples those rows are."""
    rows = torch.arange(trace.batch_size) if trace.order.rows is None else trace.order.rows
    return rows[:EXAMPLES].tolist()


def step_jacobian(trace: "Trace", k: int, rows: Tensor) -> Tensor:
    """Jacobian of all states after one step in all states before it.

    Args:
        trace: one direction of one layer whose examples are not coupled.
        k: the step, in the order of the scan.
        rows: (E,) examples that are active there, in the order of the scan.

    Returns:
        (E, S, S); entry [i, j] is the derivative of new unit i in old unit j.
    """
    replay = trace.replay(Block(torch.full_like(rows, k), rows, trace.start + k))
    with torch.enable_grad():
        after = torch.cat(replay.after, -1)  # (E, S)
    size = after.shape[1]
    units = torch.eye(size, dtype=after.dtype, device=after.device).unsqueeze(1).expand(size, *after.shape)
    found = torch.autograd.grad(after, replay.before, units, is_grads_batched=True, allow_unused=True)
    parts = [s.new_zeros(size, *s.shape) if g is None else g for g, s in zip(found, replay.before, strict=True)]
    return torch.cat(parts, -1).transpose(0, 1)


def _log10_extremes(jacobians: Tensor) -> Tensor:
    """log10 of spectral norm and spectral radius, (E, 2); NaN where a Jacobian has overflown."""
    finite = jacobians.isfinite().all(-1).all(-1)
    usable = jacobians.where(finite[:, None, None], torch.zeros(()))
    both = torch.stack([torch.linalg.matrix_norm(usable, 2), torch.linalg.eigvals(usable).abs().amax(-1)], -1)
    return both.log10().where(finite[:, None], torch.nan)
