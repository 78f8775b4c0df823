"""Lagged gradient: how far back the answer of a single step reaches, averaged over all answers."""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells import States
from rnnlab.gradients.norms import log10_norm
from rnnlab.probes.base import probe

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.probes.trace import Block, Replay, Trace


@probe("full", cost="T B S² max_lag")
def lagged(trace: "Trace", max_lag: int = 100) -> "dict[str, xr.DataArray]":
    """Norm of dL_s/dh_{s-k} by lag k, where L_s is what the answer of step s adds to the loss.

    The total gradient of a loss at every step mixes lags: g_t = Σ_k dL_{t+k}/dh_t. Here each L_s starts from the
    direct gradient at s alone and goes back by itself. Averages run over the steps s with an answer and over examples,
    in log space, zeros left out; the arithmetic mean, which bounds need, stands beside them: where few answers remember
    far, it lies decades above. In a dilated layer other lags than multiples of the dilation are zero and left out.
    Memory: that of one training pass of the layer.

    Args:
        trace: one direction of one layer.
        max_lag: the longest lag, cut to T - 1; in the direction of the scan.

    Returns:
        `log10_lagged_norm`, the mean for the first state, with quartiles `_q25`, `_q50`, `_q75`;
        `log10_mean_lagged_norm`, log10 of the arithmetic mean, in which zeros count; and `lagged_zero_fraction`, the
        share of vanished pairs of step and example: (lag). NaN without such a pair.

    Reference: Aicher et al. 2019, "Adaptively Truncating Backpropagation Through Time to Control Gradient Bias",
    Theorem 1, whose ‖dL_s/dh_{s-k}‖ these are.
    """
    import xarray as xr

    answered = trace.direct[0].abs().amax(-1) != 0  # (T, B)
    replays = [(block, trace.replay(block)) for block in trace.blocks()]  # taken once, gone back through for every lag
    values, rows = trace.direct, []
    lags = range(0, min(max_lag, trace.steps - 1) + 1, trace.dilation)
    for lag in lags:
        if lag:
            values = pull_back_everywhere(trace, replays, values)
        rows.append(_aggregate(log10_norm(values[0][: trace.steps - lag])[answered[lag:]]))
    names = {
        "log10_lagged_norm": "mean log10 norm of the gradient of one step's loss",
        "log10_lagged_norm_q25": "first quartile of log10 norm",
        "log10_lagged_norm_q50": "median of log10 norm",
        "log10_lagged_norm_q75": "third quartile of log10 norm",
        "log10_mean_lagged_norm": "log10 of the mean norm of the gradient of one step's loss",
        "lagged_zero_fraction": "share of gradients that are exactly zero",
    }
    return {
        name: xr.DataArray(np.array(column), {"lag": list(lags)}, ("lag",), attrs={"long_name": title})
        for (name, title), column in zip(names.items(), zip(*rows, strict=True), strict=True)
    }


def pull_back_everywhere(trace: "Trace", replays: "list[tuple[Block, Replay]]", values: States) -> States:
    """Take gradients at what each step made, (T, B, S), back through it to what it read; zero where none comes."""
    found = tuple(torch.zeros_like(value) for value in values)
    for block, replay in replays:
        late = block.steps >= trace.dilation
        at = (block.steps[late] - trace.dilation, block.examples[late])
        pulled = torch.autograd.grad(
            replay.after, replay.before, trace.gather(block, values), retain_graph=True, allow_unused=True
        )
        for gradient, part in zip(found, pulled, strict=True):
            if part is not None:
                gradient[at] = part[late]
    return found


def _aggregate(logs: Tensor) -> tuple[float, ...]:
    """Mean and quartiles of log10 norms, (N,), log10 of the mean norm, and the share of zeros."""
    present = logs[logs != -torch.inf]
    zeros = 1 - len(present) / len(logs) if len(logs) else torch.nan
    if not len(present):
        return (torch.nan,) * 4 + (-torch.inf if len(logs) else torch.nan, zeros)
    quartiles = np.quantile(present.cpu().numpy(), [0.25, 0.5, 0.75])
    log10_mean = float(torch.logsumexp(logs * math.log(10), 0)) / math.log(10) - math.log10(len(logs))
    return (float(present.mean()), *quartiles.tolist(), log10_mean, zeros)
