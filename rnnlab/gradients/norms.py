"""Norms of gradients, and their aggregates over the examples of a batch."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


def log10_norm(gradient: Tensor) -> Tensor:
    """Take log10 of Euclidean norms without squaring anything too small or too large to be squared.

    Args:
        gradient: (..., H); any floating dtype.

    Returns:
        (...) float64; -inf where the gradient is exactly zero, inf or NaN where it has overflown.
    """
    if gradient.dtype != torch.float64:  # whose squares are none too small or too large for double precision
        return torch.linalg.vector_norm(gradient, dim=-1, dtype=torch.float64).log10()
    largest = gradient.abs().amax(-1)
    usable = (largest > 0) & torch.isfinite(largest)
    scale = torch.where(usable, largest, torch.ones_like(largest))
    norm = torch.linalg.vector_norm(gradient / scale.unsqueeze(-1), dim=-1)
    return torch.where(usable, norm.log10() + scale.log10(), largest.log10())


class Norms(NamedTuple):
    """Norms of one state over the examples of a batch, (T,) each; NaN where nothing was measured.

    Attributes:
        mean: mean of log10 norms over the examples whose gradient is a number other than zero; -inf where there is none
            and some are zero.
        low: smallest of them.
        high: largest of them.
        zero_fraction: share of examples whose gradient is exactly zero.
        nan_fraction: share of examples whose gradient is not a number, or infinite.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    zero_fraction: np.ndarray
    nan_fraction: np.ndarray


def over_examples(log10_norms: Tensor) -> Norms:
    """Aggregate over examples, in log space.

    Args:
        log10_norms: (T, B): -inf where the gradient of an example is zero, inf where it is not a number, NaN where it
            was not measured.

    Returns:
        Mean, minimum and maximum over the finite ones, and the shares of zeros and of what is not a number among the
        measured.
    """
    logs = log10_norms.numpy()
    if logs.size and np.isfinite(logs).all():  # as a rule; the rest costs several times more
        mean, low, high = log10_norms.mean(1), log10_norms.amin(1), log10_norms.amax(1)
        nothing = np.zeros(len(logs))
        return Norms(mean.numpy(), low.numpy(), high.numpy(), nothing, nothing)
    zero, broken, usable = np.isneginf(logs), np.isposinf(logs), np.isfinite(logs)
    count, measured = usable.sum(1), (~np.isnan(logs)).sum(1)
    otherwise = np.where(zero.any(1), -np.inf, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 is NaN where nothing was measured
        found = (
            np.where(usable, logs, 0.0).sum(1) / count,
            np.where(usable, logs, np.inf).min(1, initial=np.inf),
            np.where(usable, logs, -np.inf).max(1, initial=-np.inf),
        )
        mean, low, high = (np.where(count > 0, values, otherwise) for values in found)
        return Norms(mean, low, high, zero.sum(1) / measured, broken.sum(1) / measured)
