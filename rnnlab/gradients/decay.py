"""Decay rate: how many decades the gradient loses with every step of lag, and whether one rate tells it."""

import math
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike

from rnnlab.common.errors import UserError

SIGNIFICANT = 0.01
"""A bend that chance gives no more often than this may count."""
LEAST_BEND = 0.1
"""Decades by which a bent profile leaves a straight line at least; less is no matter."""
BEND_SHARE = 1 / 16
"""The same as a share of all that the line falls: from there on the slopes at both ends differ by half of the mean."""


class Decay(NamedTuple):
    """Least-squares line through log10 norm against lag.

    Attributes:
        slope: decades per step of lag; negative where the gradient vanishes backwards in time.
        stderr: standard error of the slope.
        r2: share of the variance that the line explains.
        half_life: steps of lag over which the norm halves (or doubles), log10(2) / |slope|.
        bend: decades by which the middle of the profile lies below the straight line between its ends, above if
            negative.
        bend_p: how likely chance gives such a bend, if log10 norm changes from step to step by independent amounts.
        bent: whether one slope does not tell the profile: the bend is no chance, and large beside the whole fall.
    """

    slope: float
    stderr: float
    r2: float
    half_life: float
    bend: float
    bend_p: float
    bent: bool

    @classmethod
    def unknown(cls) -> Self:
        """The decay of a profile with too few measured points."""
        return cls(math.nan, math.nan, math.nan, math.nan, math.nan, math.nan, bent=False)


def fit_decay(log10_norm: ArrayLike, lag: ArrayLike, loss_fraction: ArrayLike | None = None) -> Decay:
    """Fit the decay rate of one gradient profile.

    Where losses enter at several steps, gradients of different age add up, and only before the first of these steps is
    the profile the decay of one signal: the fit begins at the longest lag at which a loss enters. With a loss at every
    step nothing is left to fit; the probe `lagged` takes such a sum apart.

    Args:
        log10_norm: (T,) log10 of the gradient norm; NaN where not measured, infinite where zero or overflown.
        lag: (T,) distance to the last step, in steps.
        loss_fraction: (T,) share of examples whose loss enters there, as `loss_fraction_by_lag` of a profile; none if
            all of them do at the last step alone.

    Returns:
        The fit; NaN throughout with fewer than three finite points.

    Raises:
        UserError: if these are no rows of as many numbers.
    """
    log10_norm = _row("log10_norm", log10_norm)
    lag = _row("lag", lag, len(log10_norm))
    fitted = np.isfinite(log10_norm)
    if loss_fraction is not None:
        loss_fraction = _row("loss_fraction", loss_fraction, len(log10_norm))
        fitted = fitted & (lag >= np.max(lag[loss_fraction > 0], initial=0))
    if fitted.sum() < 3:
        return Decay.unknown()
    order = np.argsort(lag[fitted])
    x, y = lag[fitted][order].astype(np.float64), log10_norm[fitted][order].astype(np.float64)
    slope, stderr = _line(x, y)
    total = float(((y - y.mean()) ** 2).sum())
    r2 = 1 - stderr**2 * (len(x) - 2) * float(((x - x.mean()) ** 2).sum()) / total if total > 0 else math.nan
    half_life = math.log10(2) / abs(slope) if slope else math.inf
    bend, bend_p = _curvature(x, y)
    bent = bend_p < SIGNIFICANT and abs(bend) > max(LEAST_BEND, BEND_SHARE * abs(slope) * float(x[-1] - x[0]))
    return Decay(slope, stderr, r2, half_life, bend, bend_p, bent)


def _row(name: str, values: ArrayLike, length: int | None = None) -> np.ndarray:
    """Numbers of a list or an array, as many as there are of another."""
    try:
        row = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise UserError(f"{name} holds no numbers: give (T,) of them, such as one curve of a profile") from None
    if row.ndim != 1 or (length is not None and len(row) != length):
        wanted = "(T,)" if length is None else f"({length},), as of log10_norm"
        raise UserError(f"{name} has shape {row.shape}, where one of {wanted} is wanted: pick one curve of a profile")
    return row


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope and its standard error."""
    dx, dy = x - x.mean(), y - y.mean()
    spread = float(dx @ dx)
    slope = float(dx @ dy) / spread
    return slope, math.sqrt(float(((dy - slope * dx) ** 2).sum()) / (len(x) - 2) / spread)


def _curvature(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Bend of the parabola, and its p by the trend of the steps of y.

    A gradient norm is a product over the steps, its logarithm a walk. The residuals of a line through a walk hang
    together and would pass for a bend; its steps do not.
    """
    if len(x) < 4:
        return math.nan, math.nan
    from scipy.special import stdtr

    steps, middle = np.diff(y) / np.diff(x), (x[1:] + x[:-1]) / 2
    change, stderr = _line(middle, steps)  # of the slope, a step of lag
    bend = change * float(x[-1] - x[0]) ** 2 / 8
    return bend, 2 * float(stdtr(len(steps) - 2, -abs(change) / stderr)) if stderr > 0 else float(change == 0)
