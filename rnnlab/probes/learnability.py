"""Learnability: how many sequences it takes to tell the gradient of a dependency from its noise, lag by lag."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.probes.base import probe
from rnnlab.probes.lagged import pull_back_everywhere
from rnnlab.probes.tangents import step_tangents, trained
from rnnlab.statistics.stable_law import fit_stable

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Trace

SEQUENCES = 10.0 ** np.arange(7)


@probe("full", cost="T B S² max_lag")
def learnability(trace: "Trace", max_lag: int = 100, directions: int = 8) -> "dict[str, xr.DataArray]":
    """Signal and noise of dE/dW at each lag over the examples, and what N sequences can teach.

    ψ_b(ℓ) = Σ_s ⟨dL_s/ds_{s-ℓ} ∂s_{s-ℓ}/∂W, w⟩ is what example b adds to the gradient through the state ℓ steps before
    each answer, along a random direction w of unit length. Signal m(ℓ) is the root mean square of E_b ψ over
    directions, freed of the bias of a finite mean; noise is ψ - E_b ψ, a symmetric stable law of scale σ(ℓ) whose tail
    index α all lags share. A mean over N sequences still has noise σ N^(-(1 - 1/α)), which falls to the signal at
    N(ℓ) = (σ/m)^(α/(α - 1)): with normal noise, α = 2, the square of the ratio. H_N is the longest lag with
    N(ℓ) ≤ N. Where the signal follows an envelope f(ℓ) and the noise does not, N(ℓ) ∝ f(ℓ)^(-α/(α - 1)).

    α takes some hundred values of ψ. Where examples are coupled, as by batch norm in training, there is no ψ of one
    example and nothing is returned.

    Args:
        trace: one direction of one layer.
        max_lag: the longest lag, cut to T - 1; in the direction of the scan.
        directions: number of random directions w.

    Returns:
        `log10_gradient_signal`, `log10_gradient_noise`, `log10_sequences_needed`, log10 of m, σ and N: (lag);
        `noise_tail_index`, α: (); `learnable_lag`, H_N: (sequences), NaN where no lag can be taught.

    Reference: Livi 2025, "Learnability Window in Gated Recurrent Neural Networks".
    """
    import xarray as xr

    if trace.mixes_examples:
        return {}
    lags = list(range(0, min(max_lag, trace.steps - 1) + 1, trace.dilation))
    psi = _projections(trace, len(lags), directions).double().cpu().numpy()  # (lags, directions, B)
    alpha, signal, noise = _signal_and_noise(psi)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = [np.log10(signal), np.log10(noise)]
        logs.append((logs[1] - logs[0]) * alpha / (alpha - 1) if alpha > 1 else np.full(len(lags), np.nan))
    titles = ("log10 signal of dE/dW at a lag", "log10 noise of dE/dW at a lag", "log10 sequences to see a lag")
    names = ("log10_gradient_signal", "log10_gradient_noise", "log10_sequences_needed")
    arrays = {
        name: xr.DataArray(values, {"lag": lags}, ("lag",), attrs={"long_name": title})
        for name, values, title in zip(names, logs, titles, strict=True)
    }
    reached = logs[-1][None] <= np.log10(SEQUENCES)[:, None]  # (sequences, lag)
    longest = np.where(reached, np.array(lags, dtype=float), -np.inf).max(1)
    attrs = {"long_name": "longest lag that so many sequences teach", "units": "steps"}
    arrays["learnable_lag"] = xr.DataArray(
        np.where(reached.any(1), longest, np.nan), {"sequences": SEQUENCES}, ("sequences",), attrs=attrs
    )
    arrays["noise_tail_index"] = xr.DataArray(alpha, attrs={"long_name": "tail index of the noise of dE/dW"})
    return arrays


def random_directions(trace: "Trace", count: int) -> dict[str, Tensor]:
    """Random signs of all weights together, scaled to unit length: by weight, (R, *shape)."""
    generator, names = torch.Generator().manual_seed(0), trained(trace)
    size = sum(trace.weights[name].numel() for name in names)
    return {
        name: (torch.randint(0, 2, (count, *trace.weights[name].shape), generator=generator) * 2 - 1).to(trace.u)
        / size**0.5
        for name in names
    }


def _projections(trace: "Trace", lags: int, directions: int) -> Tensor:
    """ψ of every lag, direction and example, (lags, R, B)."""
    changes, sizes = random_directions(trace, directions), trace.cell.state_sizes
    T, B = trace.u.shape[:2]
    tangents = trace.u.new_zeros(B, directions, T, sum(sizes))  # an example's in one piece, for one product a lag
    for block in trace.blocks():
        parts = torch.cat(step_tangents(trace, block, changes), -1)  # (R, N, S)
        tangents[block.examples, :, block.steps] = parts.transpose(0, 1)
    replays = [(block, trace.replay(block)) for block in trace.blocks()]
    values, found = trace.direct, []
    for lag in range(lags):
        if lag:
            values = pull_back_everywhere(trace, replays, values)
        each = torch.cat(values, -1).transpose(0, 1).reshape(B, -1, 1)
        found.append((tangents.flatten(2) @ each).squeeze(-1).T)
    return torch.stack(found)


def _signal_and_noise(psi: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Tail index, and signal and scale of the noise at every lag, (lags,) each."""
    size, examples = np.abs(psi).max((1, 2)), psi.shape[-1]
    with np.errstate(invalid="ignore"):
        psi = psi / size[:, None, None]  # so that no square underflows; not a number where no gradient arrives
    mean = psi.mean(-1, keepdims=True)
    away = psi - mean
    bias = away.var(-1, ddof=1) / examples if examples > 1 else np.full(psi.shape[:2], np.nan)
    signal = np.sqrt(np.maximum((mean[..., 0] ** 2 - bias).mean(-1), 0))
    spread = np.subtract(*np.quantile(away, [0.75, 0.25], axis=(1, 2)))  # (lags,)
    with np.errstate(divide="ignore", invalid="ignore"):
        law = fit_stable((away / spread[:, None, None]).ravel())
    return law.alpha, size * signal, size * law.scale * spread
