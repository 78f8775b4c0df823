"""A gradient profile in one line of text."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from rnnlab.gradients.norms import Norms

BLOCKS = "▁▂▃▄▅▆▇█"
UNMEASURED, ZERO = " ", "0"
LEAST_SPAN = 1.0
"""Decades from the lowest to the highest block at least, so that a flat profile looks flat."""


class Sparkline(NamedTuple):
    """One character for one time step, or for the mean of several, the first step on the left.

    Attributes:
        text: blocks; blank where nothing was measured, 0 where the gradient is exactly zero.
        low: log10 norm that the lowest block stands for; NaN where there is no block.
        high: that of the highest.
    """

    text: str
    low: float
    high: float


def sparkline(norms: Norms, width: int) -> Sparkline:
    """Draw log10 norms over time.

    Args:
        norms: of one state, (T,) each.
        width: most characters.

    Returns:
        The line and its scale.
    """
    steps = len(norms.mean)
    edges = np.linspace(0, steps, min(width, steps) + 1).round().astype(int)
    cells = [slice(first, end) for first, end in pairwise(edges)]
    values = np.array([_mean(norms.mean[cell]) for cell in cells])
    blank = [ZERO if (norms.zero_fraction[cell] == 1).any() else UNMEASURED for cell in cells]
    finite = values[np.isfinite(values)]
    if not len(finite):
        return Sparkline("".join(blank), np.nan, np.nan)
    low, high = float(finite.min()), float(finite.max())
    high = max(high, low + LEAST_SPAN)
    levels = (np.nan_to_num(values, nan=low) - low) / (high - low) * (len(BLOCKS) - 1)
    blocks = [BLOCKS[level] for level in levels.round().astype(int)]
    text = (block if np.isfinite(value) else rest for value, block, rest in zip(values, blocks, blank, strict=True))
    return Sparkline("".join(text), low, high)


def _mean(values: np.ndarray) -> float:
    """Mean of what was measured."""
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else np.nan
