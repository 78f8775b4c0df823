"""Bias of the truncated gradient against the length of the window."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from rnnlab.plots.style import FAINT, axes, dress, legend_below, log_ticks, looks

LABELS = {
    "gradient_bias": r"relative bias $\|\hat g - g\|\,/\,\|g\|$",
    "gradient_ratio": r"ratio of norms $\|\hat g\|\,/\,\|g\|$",
    "gradient_cosine": r"cosine between $\hat g$ and $g$",
}


def bias_by_window(bias: xr.Dataset, ax: Axes | None = None) -> Axes:
    """Draw how the truncated gradient of all weights differs from the full one, against the window.

    Args:
        bias: from `rnnlab.training.bias.bias_by_window`.
        ax: where to draw.

    Returns:
        The axes. All three lines end at the full window: bias 0, ratio 1 and cosine 1.
    """
    ax = ax or axes(7.2, 4.4)
    together = bias.sel(parameter="all")
    for name, look in looks(LABELS).items():
        ax.plot(
            bias["window"].values, together[name].values,
            color=look.color, marker=look.marker, linestyle=look.dashes, markersize=5.5, linewidth=1.6,
            label=LABELS[name],
        )  # fmt: skip
    for level in (0, 1):
        ax.axhline(level, color=FAINT, linewidth=1)
    log_ticks(ax, np.unique(bias["window"].values))
    title = "Truncated against full gradient, all weights"
    dress(ax, title, "window (time steps kept)", "bias, ratio, cosine (no unit)")
    legend_below(ax, ax.get_legend_handles_labels()[0][:3], columns=3)
    return ax
