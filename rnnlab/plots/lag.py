"""Norm against lag: how fast the gradient decays, through training, from arm to arm, over seeds and by theory."""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rnnlab.gradients.decay import Decay, fit_decay
from rnnlab.plots.profiles import BY_LAG, finite, norm_label, select, title, train_steps
from rnnlab.plots.style import FAINT, axes, dress, legend_below, looks

LOSSES = "loss_fraction_by_lag"
LAG = "lag (time steps before the last)"
SMALLEST_ERROR = 1e-6
"""Standard errors of decay rates are shown to their first digit, but to no more than six decimals."""


def lag_plot(
    profile: xr.Dataset, state: str = "h", layer: int | None = None, direction: str = "forward", ax: Axes | None = None
) -> Axes:
    """Draw the gradient norm against lag at the first, the middle and the last recorded training step.

    Lines are means over examples, bands reach from the smallest to the largest example, dashed is the fitted
    decay, which the legend gives in numbers.

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
    rows = np.unique([0, (S - 1) // 2, S - 1])
    lag, recorded = chosen["lag"].values, train_steps(chosen)
    ax = ax or axes(7.2, 4.9)
    for row, place in zip(rows, np.linspace(0.02, 0.8, len(rows)), strict=True):
        one, color = chosen.isel(step=row), to_hex(colormaps["viridis"](place))
        decay = decay_of(one)
        label = f"step {recorded[row]:,}: {_in_words(decay, one)}"
        low, high = (one[f"log10_grad_norm_{end}_by_lag"].values for end in ("min", "max"))
        ax.fill_between(lag, low, high, color=color, alpha=0.18, linewidth=0)
        _line(ax, one, decay, color=color, label=label)
    dress(ax, title(profile, layer, direction, state), LAG, norm_label(state))
    legend_below(ax, [*ax.get_legend_handles_labels()[0], *_key()], columns=1)
    return ax


def compare_lags(
    profiles: Mapping[str, xr.Dataset],
    state: str = "h",
    layer: int | None = None,
    direction: str = "forward",
    step: int = -1,
    ax: Axes | None = None,
) -> Axes:
    """Draw the gradient norm against lag of several runs at one recorded training step each.

    Args:
        profiles: gradient profile by name of the arm.
        state: which state, `h` or `c`.
        layer: index of the layer; the top of the network if not given.
        direction: `forward` or `reverse`.
        step: index of the recorded training step, 0 at initialisation, -1 the last.
        ax: where to draw.

    Returns:
        The axes; the legend lists the arms from the slowest decay to the fastest.

    Raises:
        UserError: if a profile has no such state, layer or direction.
    """
    ax = ax or axes(7.2, 4.0 + 0.19 * len(profiles))
    drawn: list[tuple[float, Line2D]] = []
    for name, look in looks(profiles).items():
        one = select(profiles[name], state, layer, direction).isel(step=step)
        decay = decay_of(one)
        line = _line(
            ax,
            one,
            None,
            color=look.color,
            linestyle=look.dashes,
            label=f"{name}: {_in_words(decay, one, errors=False)}",
        )
        drawn.append((decay.slope if math.isfinite(decay.slope) else -math.inf, line))
    when = {0: "at the first recorded step", -1: "at the last recorded step"}.get(step, f"at recorded step {step}")
    dress(ax, f"Total gradient norm {when}", LAG, norm_label(state))
    legend_below(ax, [line for _, line in sorted(drawn, key=lambda item: -item[0])], columns=1)
    return ax


def _line(ax: Axes, one: xr.Dataset, decay: Decay | None, **look: object) -> Line2D:
    """Draw mean norm against lag, and its fitted line where one is given."""
    lag, norm = one["lag"].values, finite(one, BY_LAG)
    (line,) = ax.plot(lag, norm, linewidth=1.8, **look)  # type: ignore[arg-type]
    seen = np.isfinite(norm) & (lag >= first_lag(one))
    if decay is not None and math.isfinite(decay.slope):
        ends = np.array([lag[seen].min(), lag[seen].max()])
        fitted = norm[seen].mean() + decay.slope * (ends - lag[seen].mean())
        ax.plot(ends, fitted, color=line.get_color(), linestyle=(0, (4, 2)), linewidth=1, alpha=0.9)
    return line


def _key() -> list[Line2D | Patch]:
    return [
        Line2D([], [], color=FAINT, linestyle=(0, (4, 2)), linewidth=1, label="fitted decay"),
        Patch(color=FAINT, alpha=0.25, linewidth=0, label="smallest to largest example"),
    ]


def decay_of(one: xr.Dataset) -> Decay:
    """Decay of a profile of one state in one layer at one step."""
    return fit_decay(one[BY_LAG].values, one["lag"].values, one[LOSSES].values)


def first_lag(one: xr.Dataset) -> int:
    """The lag that such a fit begins at: the longest at which a loss enters."""
    return int(one["lag"].values[one[LOSSES].values > 0].max(initial=0))


def _in_words(decay: Decay, one: xr.Dataset, errors: bool = True) -> str:
    """Slope, with its standard error if wanted, and what it means."""
    if not math.isfinite(decay.slope):
        seen = np.isfinite(one[BY_LAG].values)
        return (
            "losses all along, no decay of one" if first_lag(one) > 0 and seen.sum() > 2 else "too few measured steps"
        )
    if decay.slope == 0:
        return "does not decay"
    digits = max(0, -math.floor(math.log10(max(decay.stderr, SMALLEST_ERROR))))
    slope = f"{decay.slope:+.{digits}f} ± {decay.stderr:.{digits}f}" if errors else f"{decay.slope:+.3g}"
    verb = "halves" if decay.slope < 0 else "doubles"
    words = f"{slope} decades/step, {verb} every {_short(decay.half_life)} steps, R² {decay.r2:.2f}"
    return f"{words}{', bent' if decay.bent else ''}".replace("-", "\N{MINUS SIGN}")


def _short(value: float) -> str:
    """Three digits: 1.64, 27.3, 1,240."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):,.0f}"
