"""Norm against lag over seeds, with its interval, beside what theory predicts."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnlab.plots.lag import LAG, decay_of
from rnnlab.plots.profiles import BY_LAG, finite, norm_label, select, title, train_steps
from rnnlab.plots.style import axes, dress, legend_below, looks
from rnnlab.statistics.intervals import student

if TYPE_CHECKING:
    from rnnlab.theory import Prediction

MARGIN = 0.08
"""Share of the height that stays free above and below what was measured; theory lines are cut there."""


def lag_over_seeds(
    profiles: Sequence[xr.Dataset],
    predictions: "Sequence[Prediction]" = (),
    state: str = "h",
    layer: int | None = None,
    direction: str = "forward",
    step: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean gradient norm over seeds against lag, with its 95% interval, and the slopes that theory predicts.

    Lines of theory start at the measured norm of the smallest lag, so that slopes compare; one of the kind `bound`
    is to lie above the measured line. The legend gives all slopes in numbers.

    Args:
        profiles: gradient profiles of the same configuration with different seeds.
        predictions: from `rnnlab.theory.predict`; those without a number are left out.
        state: which state, `h` or `c`.
        layer: index of the layer; the top of the network if not given.
        direction: `forward` or `reverse`.
        step: index of the recorded training step; theory speaks of the first, 0.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if a profile has no such state, layer or direction.
    """
    chosen = [select(profile, state, layer, direction).isel(step=step) for profile in profiles]
    lag, norms = chosen[0]["lag"].values, np.stack([finite(one, BY_LAG) for one in chosen])  # (T,), (N, T)
    ax = ax or axes(7.2, 4.6 + 0.2 * len(predictions))
    middle, half = student(norms)
    measured, *theories = looks(["measured", *(p.name for p in predictions)]).values()
    decays = [decay_of(one) for one in chosen]
    slopes, wide = student(np.array([[decay.slope] for decay in decays]))
    bent = sum(decay.bent for decay in decays)
    label = f"measured, mean of {len(norms)} seeds: {_slope(slopes[0], wide[0])}"
    label += f", R² {min(decay.r2 for decay in decays):.2f} or more" + f", bent in {bent}" * (bent > 0)
    (line,) = ax.plot(lag, middle, color=measured.color, linewidth=2, label=label)
    ax.fill_between(lag, middle - half, middle + half, color=measured.color, alpha=0.2, linewidth=0)
    ax.margins(y=MARGIN)
    ax.set_ylim(ax.get_ylim())
    handles: list[Line2D | Patch] = [line, Patch(color=measured.color, alpha=0.25, label="95% interval over seeds")]
    handles += _theory(ax, predictions, theories, lag, middle)
    when = f"training step {train_steps(profiles[0])[step]:,}"
    dress(ax, f"{title(profiles[0], layer, direction, state)}, {when}", LAG, norm_label(state))
    legend_below(ax, handles, columns=1)
    return ax


def _theory(
    ax: Axes, predictions: "Sequence[Prediction]", theories: Sequence, lag: np.ndarray, norm: np.ndarray
) -> list[Line2D]:
    """Draw a line for every predicted slope, from the measured norm of the smallest lag."""
    seen = np.isfinite(norm)
    if not seen.any():
        return []
    first, last = lag[seen].min(), lag[seen].max()
    start = norm[lag == first][0]
    lines = []
    for prediction, look in zip(predictions, theories, strict=True):
        if math.isfinite(prediction.slope):
            ends = [start, start + prediction.slope * (last - first)]
            label = f"{prediction.name} ({prediction.kind}): {_slope(prediction.slope, math.nan)}"
            lines += ax.plot([first, last], ends, color=look.color, linestyle=look.dashes, linewidth=1.6, label=label)
    return lines


def _slope(value: float, half: float) -> str:
    if not math.isfinite(value):
        return "too few measured steps"
    digits = max(4, 1 - math.floor(math.log10(half))) if half > 0 else 4
    spread = f" ± {half:.{digits}f}" if half > 0 else ""
    return f"{value:+.{digits}f}{spread} decades/step".replace("-", "\N{MINUS SIGN}")
