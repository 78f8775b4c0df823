"""Figures of gradient profiles: where in time, and when in training, the gradient lives."""

import math
from collections.abc import Mapping

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_hex
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rnnlab.errors import UserError
from rnnlab.plots.style import FAINT, axes, dress, figure_of, legend_below, looks
from rnnlab.probes.decay import Decay, fit_decay

DECADES = 12
"""How far below the largest norm the colours of a heat map reach, unless told otherwise."""
ROW_LABELS = 8
SMALLEST_ERROR = 1e-6
"""Standard errors of decay rates are shown to their first digit, but to no more than six decimals."""


def heatmap(
    profile: xr.Dataset,
    state: str = "h",
    layer: int = -1,
    direction: str = "forward",
    ax: Axes | None = None,
    vmin: float | None = None,
    vmax: float | None = None,
) -> Axes:
    """Draw the total gradient norm over time steps and training steps.

    Rows are recorded training steps, of equal height whatever lies between them, the first one lowest. Hatched
    is what was not measured, black what was exactly zero for every example.

    Args:
        profile: gradient profile of one run.
        state: which state, `h` or `c`.
        layer: index of the layer, -1 the last.
        direction: `forward` or `reverse`.
        ax: where to draw.
        vmin: floor of the colours, log10; if not given the lowest norm, but at most twelve decades below `vmax`.
        vmax: upper end of the colours, log10; if not given the largest norm.

    Returns:
        The axes; a floor that norms lie below is stated beside the colour bar.

    Raises:
        UserError: if the profile has no such state, layer or direction.
    """
    chosen = _select(profile, state, layer, direction)
    norms, zero = chosen["log10_grad_norm"].values, chosen["zero_fraction"].values == 1  # (S, T)
    low, high = _color_range(norms[np.isfinite(norms)], vmin, vmax)
    ax = ax or axes(7.2, 4.4)
    ax.patch.set(facecolor="#f6f6f6", edgecolor="#bdbdbd", hatch="////")
    image = _raster(ax, np.where(np.isfinite(norms), norms, np.nan), cmap="viridis", vmin=low, vmax=high)
    _raster(ax, np.where(zero, 0.0, np.nan), cmap=ListedColormap(["black"]))
    S = norms.shape[0]
    rows = np.unique(np.linspace(0, S - 1, min(S, ROW_LABELS)).round().astype(int))
    ax.set_yticks(rows, [f"{step:,}" for step in _train_steps(chosen)[rows]])
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    dress(ax, _title(profile, layer, direction, state), "time step", "recorded training step", grid=None)
    _explain(ax, missing=bool((np.isnan(norms) & ~zero).any()), zero=bool(zero.any()))
    _color_bar(ax, image, norms[np.isfinite(norms)], state)
    return ax


def lag_plot(
    profile: xr.Dataset, state: str = "h", layer: int = -1, direction: str = "forward", ax: Axes | None = None
) -> Axes:
    """Draw the gradient norm against lag at the first, the middle and the last recorded training step.

    Lines are means over examples, bands reach from the smallest to the largest example, dashed is the fitted
    decay, which the legend gives in numbers.

    Args:
        profile: gradient profile of one run.
        state: which state, `h` or `c`.
        layer: index of the layer, -1 the last.
        direction: `forward` or `reverse`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if the profile has no such state, layer or direction.
    """
    chosen = _select(profile, state, layer, direction)
    S = chosen.sizes["step"]
    rows = np.unique([0, (S - 1) // 2, S - 1])
    lag, train_steps = chosen["lag"].values, _train_steps(chosen)
    ax = ax or axes(7.2, 4.9)
    for row, place in zip(rows, np.linspace(0.02, 0.8, len(rows)), strict=True):
        one, color = chosen.isel(step=row), to_hex(colormaps["viridis"](place))
        decay = fit_decay(one["log10_grad_norm"].values, lag)
        label = f"step {train_steps[row]:,}: {_in_words(decay)}"
        low, high = one["log10_grad_norm_min"].values, one["log10_grad_norm_max"].values
        ax.fill_between(lag, low, high, color=color, alpha=0.18, linewidth=0)
        _line(ax, one, decay, color=color, label=label)
    dress(ax, _title(profile, layer, direction, state), "lag (time steps before the last)", _norm_label(state))
    legend_below(ax, [*ax.get_legend_handles_labels()[0], *_key()], columns=1)
    return ax


def compare_lags(
    profiles: Mapping[str, xr.Dataset],
    state: str = "h",
    layer: int = -1,
    direction: str = "forward",
    step: int = -1,
    ax: Axes | None = None,
) -> Axes:
    """Draw the gradient norm against lag of several runs at one recorded training step each.

    Args:
        profiles: gradient profile by name of the arm.
        state: which state, `h` or `c`.
        layer: index of the layer, -1 the last.
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
        one = _select(profiles[name], state, layer, direction).isel(step=step)
        decay = fit_decay(one["log10_grad_norm"].values, one["lag"].values)
        line = _line(
            ax, one, None, color=look.color, linestyle=look.dashes, label=f"{name}: {_in_words(decay, errors=False)}"
        )
        drawn.append((decay.slope if math.isfinite(decay.slope) else -math.inf, line))
    when = {0: "at the first recorded step", -1: "at the last recorded step"}.get(step, f"at recorded step {step}")
    dress(ax, f"Total gradient norm {when}", "lag (time steps before the last)", _norm_label(state))
    legend_below(ax, [line for _, line in sorted(drawn, key=lambda item: -item[0])], columns=1)
    return ax


def _select(profile: xr.Dataset, state: str, layer: int, direction: str) -> xr.Dataset:
    """One state of one layer in one direction: dims (step, time)."""
    for name, value in {"state": state, "direction": direction}.items():
        if value not in profile[name].values:
            known = ", ".join(str(item) for item in profile[name].values)
            raise UserError(f"{name} = '{value}' was not recorded: choose from {known}")
    if not profile.sizes["step"]:
        raise UserError("the profile holds no recorded step: record with recording.points above 0")
    layers = profile.sizes["layer"]
    if not -layers <= layer < layers:
        raise UserError(f"layer = {layer} was not recorded: choose from 0 to {layers - 1}, or -1 for the last")
    return profile.isel(layer=layer).sel(state=state, direction=direction)


def _train_steps(profile: xr.Dataset) -> np.ndarray:
    return profile["train_step" if "train_step" in profile.coords else "step"].values


def _color_range(finite: np.ndarray, vmin: float | None, vmax: float | None) -> tuple[float, float]:
    if not finite.size:
        return (0.0 if vmin is None else vmin), (1.0 if vmax is None else vmax)
    high = math.ceil(finite.max()) if vmax is None else vmax
    low = max(math.floor(finite.min()), high - DECADES) if vmin is None else vmin
    return low, max(high, low + 1)


def _raster(ax: Axes, values: np.ndarray, **look: object) -> AxesImage:
    """One cell a value, as pixels; NaN shows what lies beneath."""
    S, T = values.shape
    extent = (-0.5, T - 0.5, -0.5, S - 0.5)
    return ax.imshow(values, origin="lower", aspect="auto", interpolation="nearest", extent=extent, **look)  # type: ignore[arg-type]


def _explain(ax: Axes, missing: bool, zero: bool) -> None:
    """Say what the cells without colour mean, where there are any."""
    hatched = Patch(facecolor="#f6f6f6", edgecolor="#bdbdbd", hatch="////", label="not measured")
    black = Patch(facecolor="black", label="exactly zero")
    shown = [hatched] * missing + [black] * zero
    if shown:
        legend_below(ax, shown, columns=2)


def _color_bar(ax: Axes, image: AxesImage, finite: np.ndarray, state: str) -> None:
    low, high = image.get_clim()
    below, above = bool((finite < low).any()), bool((finite > high).any())
    extend = "both" if below and above else "min" if below else "max" if above else "neither"
    bar = figure_of(ax).colorbar(image, ax=ax, extend=extend, pad=0.02)
    floor = f"\nfloor {low:g}, lowest {finite.min():.0f}" if below else ""
    bar.set_label(f"{_norm_label(state)}{floor}".replace("-", "\N{MINUS SIGN}"))
    bar.locator = MaxNLocator(7, integer=True)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _line(ax: Axes, one: xr.Dataset, decay: Decay | None, **look: object) -> Line2D:
    """Draw mean norm against lag, and its fitted line where one is given."""
    lag, norm = one["lag"].values, one["log10_grad_norm"].values
    (line,) = ax.plot(lag, np.where(np.isfinite(norm), norm, np.nan), linewidth=1.8, **look)  # type: ignore[arg-type]
    seen = np.isfinite(norm)
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


def _in_words(decay: Decay, errors: bool = True) -> str:
    """Slope, with its standard error if wanted, and what it means."""
    if not math.isfinite(decay.slope):
        return "too few measured steps"
    if decay.slope == 0:
        return "does not decay"
    digits = max(0, -math.floor(math.log10(max(decay.stderr, SMALLEST_ERROR))))
    slope = f"{decay.slope:+.{digits}f} ± {decay.stderr:.{digits}f}" if errors else f"{decay.slope:+.3g}"
    verb = "halves" if decay.slope < 0 else "doubles"
    return f"{slope} decades/step, {verb} every {_short(decay.half_life)} steps".replace("-", "\N{MINUS SIGN}")


def _short(value: float) -> str:
    """Three digits: 1.64, 27.3, 1,240."""
    return f"{value:.3g}" if value < 1000 else f"{float(f'{value:.3g}'):,.0f}"


def _norm_label(state: str) -> str:
    return rf"$\log_{{10}}\,\|\partial L\,/\,\partial {state}_t\|$"


def _title(profile: xr.Dataset, layer: int, direction: str, state: str) -> str:
    """What is shown, naming only what the profile has several of."""
    what = {"h": "hidden state", "c": "cell state"}.get(state, state)
    parts = [f"Total gradient norm of the {what}"]
    if profile.sizes["layer"] > 1:
        parts.append(f"layer {int(profile['layer'].values[layer])}")
    if profile.sizes["direction"] > 1:
        parts.append(direction)
    return ", ".join(parts)
