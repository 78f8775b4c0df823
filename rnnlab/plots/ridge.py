"""Ridge lines: the gradient profile as it changes through training."""

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex

from rnnlab.plots.lag import LAG
from rnnlab.plots.profiles import BY_LAG, DECADES, finite, norm_label, select, title, train_steps
from rnnlab.plots.style import FAINT, INK, axes, dress

RIDGES = 12
"""Training steps shown at most, evenly spread over the recorded ones."""
OVERLAP = 2.2
"""Rows that the tallest ridge covers."""


def ridges(
    profile: xr.Dataset, state: str = "h", layer: int | None = None, direction: str = "forward", ax: Axes | None = None
) -> Axes:
    """Draw the gradient norm against lag at up to twelve training steps, one ridge above the other, the first lowest.

    All ridges have the same scale, which the bar at the right gives: their base is the floor, the lowest norm shown,
    at most twelve decades below the largest. A gap is what was not measured.

    Args:
        profile: gradient profile of one run.
        state: which state, `h` or `c`.
        layer: index of the layer; the top of the network if not given.
        direction: `forward` or `reverse`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if the profile has no such state, layer or direction.
    """
    chosen = select(profile, state, layer, direction)
    S = chosen.sizes["step"]
    rows = np.unique(np.linspace(0, S - 1, min(S, RIDGES)).round().astype(int))
    norms, lag = finite(chosen, BY_LAG)[rows], chosen["lag"].values
    low, high = _limits(norms)
    heights = (np.clip(norms, low, None) - low) / (high - low) * OVERLAP
    ax = ax or axes(7.2, 2.2 + 0.32 * len(rows))
    for row in range(len(rows))[::-1]:  # from the back to the front
        color = to_hex(colormaps["viridis"](0.05 + 0.75 * row / max(1, len(rows) - 1)))
        above = 2 + len(rows) - row
        ax.fill_between(lag, row, row + heights[row], facecolor="white", alpha=0.8, linewidth=0, zorder=above)
        ax.fill_between(lag, row, row + heights[row], facecolor=color, alpha=0.35, linewidth=0, zorder=above)
        ax.plot(lag, row + heights[row], color=color, linewidth=1.5, zorder=above)
        ax.axhline(row, color=FAINT, linewidth=0.5, zorder=1)
    ax.set_yticks(range(len(rows)), [f"{step:,}" for step in train_steps(chosen)[rows]])
    ax.set_ylim(-0.3, len(rows) - 1 + OVERLAP + 0.2)
    ax.set_xlim(lag.min(), lag.max())
    dress(ax, title(profile, layer, direction, state), LAG, "recorded training step", grid="x")
    _scale(ax, low, high, norm_label(state))
    return ax


def _limits(norms: np.ndarray) -> tuple[float, float]:
    seen = norms[np.isfinite(norms)]
    if not seen.size:
        return 0.0, 1.0
    high = float(seen.max())
    low = max(float(seen.min()), high - DECADES)
    return (low, high) if high > low else (high - 1, high)


def _scale(ax: Axes, low: float, high: float, label: str) -> None:
    """A bar beside the lowest ridge that says what its height means."""
    at, along = 1.025, ax.get_yaxis_transform()
    ax.plot([at, at], [0, OVERLAP], color=INK, linewidth=1.2, transform=along, clip_on=False, label="scale")
    for height, value in ((0, low), (OVERLAP, high)):
        text = f"{round(value, 1) + 0.0:.1f}".replace("-", "\N{MINUS SIGN}")
        ax.text(at + 0.012, height, text, transform=along, va="center", fontsize=9, color=INK)
    ax.text(at + 0.012, OVERLAP / 2, label, transform=along, va="center", fontsize=9, color=INK)
