"""Decay rate: how many decades the gradient loses with every step of lag."""

import math
from typing import NamedTuple, Self

import numpy as np


class Decay(NamedTuple):
    """Least-squares line through log10 norm against lag.

    Attributes:
        slope: decades per step of lag; negative where the gradient vanishes backwards in time.
        stderr: standard error of the slope.
        r2: share of the variance that the line explains.
        half_life: steps of lag over which the norm halves (or doubles), log10(2) / |slope|.
    """

    slope: float
    stderr: float
    r2: float
    half_life: float

    @classmethod
    def unknown(cls) -> Self:
        """The decay of a profile with too few measured points."""
        return cls(math.nan, math.nan, math.nan, math.nan)


def fit_decay(log10_norm: np.ndarray, lag: np.ndarray) -> Decay:
    """Fit the decay rate of one gradient profile.

    Args:
        log10_norm: (T,) log10 of the gradient norm; NaN where not measured, infinite where zero or overflown.
        lag: (T,) distance to the last step, in steps.

    Returns:
        The fit; NaN throughout with fewer than three finite points.
    """
    finite = np.isfinite(log10_norm)
    if finite.sum() < 3:
        return Decay.unknown()
    x, y = lag[finite].astype(np.float64), log10_norm[finite].astype(np.float64)
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(dx @ dx)
    slope = float(dx @ dy) / spread
    residual, total = float(((dy - slope * dx) ** 2).sum()), float(dy @ dy)
    stderr = math.sqrt(residual / (len(x) - 2) / spread)
    r2 = 1 - residual / total if total > 0 else math.nan
    return Decay(slope, stderr, r2, math.log10(2) / abs(slope) if slope else math.inf)
