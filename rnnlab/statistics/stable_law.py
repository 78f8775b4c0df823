"""Symmetric stable laws: how heavy the tails of numbers are, from their characteristic function."""

from typing import NamedTuple

import numpy as np

FREQUENCIES = np.linspace(0.4, 1.2, 9)
"""Of numbers scaled to half their interquartile range, at which their characteristic function tells most."""


class StableLaw(NamedTuple):
    """A symmetric stable law, whose characteristic function is exp(-|scale t|^α) about its centre.

    Attributes:
        alpha: tail index, at most 2, the normal law; below 2 the tails fall like |x|^(-α) and the variance is infinite.
        scale: of the normal law, the standard deviation over √2.
    """

    alpha: float
    scale: float


def fit_stable(values: np.ndarray) -> StableLaw:
    """Fit a symmetric stable law.

    ln(-ln |φ(t)|) = α ln t + α ln(scale) is a line in ln t; |φ| does not see where the numbers are centred.

    Args:
        values: numbers of one law, some hundred at least; those that are not finite are left out.

    Returns:
        The law; NaN where more than half of the numbers are the same.

    Reference: Koutrouvelis 1980, "Regression-Type Estimation of the Parameters of Stable Laws".
    """
    values = values[np.isfinite(values)]
    if not len(values) or (spread := float(np.subtract(*np.quantile(values, [0.75, 0.25])) / 2)) == 0:
        return StableLaw(np.nan, np.nan)
    size = np.abs(np.exp(1j * np.outer(FREQUENCIES, (values - np.median(values)) / spread)).mean(1))
    alpha, offset = np.polyfit(np.log(FREQUENCIES), np.log(-np.log(size)), 1)
    return StableLaw(min(float(alpha), 2.0), spread * float(np.exp(offset / alpha)))
