"""Heat maps: where in time, and when in training, the gradient lives."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from rnnlab.common.errors import UserError
from rnnlab.plots.profiles import DECADES, finite, norm_label, select, title, train_steps, vanished
from rnnlab.plots.raster import blacken, color_bar, explain, raster
from rnnlab.plots.style import axes, dress, figure_of, panels

ROW_LABELS = 8
COLUMNS = 3


def heatmap(
    profile: xr.Dataset,
    state: str = "h",
    layer: int | None = None,
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
        layer: index of the layer; the top of the network if not given.
        direction: `forward` or `reverse`.
        ax: where to draw.
        vmin: floor of the colours, log10; if not given the lowest norm, but at most twelve decades below `vmax`.
        vmax: upper end of the colours, log10; if not given the largest norm.

    Returns:
        The axes; the limits of the colours, and how far norms lie outside, are stated beside the colour bar.

    Raises:
        UserError: if the profile has no such state, layer or direction.
    """
    chosen = select(profile, state, layer, direction)
    norms, zero = finite(chosen), vanished(chosen)  # (S, T)
    low, high = _color_range(norms[~np.isnan(norms)], vmin, vmax)
    ax = ax or axes(7.2, 4.4)
    image = raster(ax, norms, low, high)
    blacken(ax, zero)
    S = norms.shape[0]
    rows = np.unique(np.linspace(0, S - 1, min(S, ROW_LABELS)).round().astype(int))
    ax.set_yticks(rows, [f"{step:,}" for step in train_steps(chosen)[rows]])
    dress(ax, title(profile, layer, direction, state), "time step", "recorded training step", grid=None)
    missing = np.isnan(chosen["log10_grad_norm"].values) & ~zero
    explain(ax, missing=bool(missing.any()), zero=bool(zero.any()))
    below, above = bool((norms < low).any()), bool((norms > high).any())
    extend = {(False, False): "neither", (True, False): "min", (False, True): "max", (True, True): "both"}
    limits = f"colours from {low:g} to {high:g}"
    limits += f", lowest {np.nanmin(norms):z.1f}" if below else ""
    limits += f", largest {np.nanmax(norms):z.1f}" if above else ""
    color_bar(ax, image, f"{norm_label(state)}\n{limits}", extend[below, above])
    return ax


def heatmaps(
    profiles: Mapping[str, xr.Dataset],
    state: str = "h",
    layer: int | None = None,
    direction: str = "forward",
    ax: Sequence[Axes] | np.ndarray | None = None,
) -> np.ndarray:
    """Draw the heat maps of several arms in the same colours, three a row in a figure of their own.

    Args:
        profiles: gradient profile by name of the arm.
        state: which state, `h` or `c`.
        layer: index of the layer; the top of the network if not given.
        direction: `forward` or `reverse`.
        ax: where to draw, one axes for each profile.

    Returns:
        (n,) the axes, in the order of `profiles`. What lies outside the limits of the colours takes the end colour.

    Raises:
        UserError: if there is no profile, one has no such state, layer or direction, or axes are more or fewer.
    """
    if not profiles:
        raise UserError("profiles is empty: give at least one profile by name")
    drawn = panels(len(profiles), COLUMNS, width=3.9, height=3.1) if ax is None else np.ravel(np.asarray(ax))
    if len(drawn) != len(profiles):
        raise UserError(f"ax has {len(drawn)} axes for {len(profiles)} profiles: give one for each")
    low, high = shared_limits([select(profile, state, layer, direction) for profile in profiles.values()])
    for panel, (arm, profile) in zip(drawn, profiles.items(), strict=True):
        heatmap(profile, state, layer, direction, panel, low, high)
        panel.set_title(arm, loc="left", fontsize=11)
    if ax is None:
        _say_once(drawn, norm_label(state), f"colours from {low} to {high} in all panels")
    return drawn


def _say_once(drawn: np.ndarray, quantity: str, limits: str) -> None:
    """Let the last colour bar of each row speak for all, and the title for the limits: the colours are the same."""
    canvas = figure_of(drawn[0])
    bars = [ax for ax in canvas.axes if ax not in drawn]  # one a panel, in their order
    for k, bar in enumerate(bars, start=1):
        bar.set_ylabel("" if k % COLUMNS and k < len(bars) else quantity)
    title = f"Total gradient norm over time and training, {limits}".replace("-", "\N{MINUS SIGN}")
    canvas.suptitle(title, x=0.01, ha="left", fontsize=12)


def shared_limits(profiles: list[xr.Dataset]) -> tuple[int, int]:
    """Whole decades for the colours of all arms: at most twelve, down from the typical arm's largest norm.

    Typical, since one arm that explodes would leave all others in the colour of the floor.

    Args:
        profiles: one state of one layer in one direction each.
    """
    found = [norms[~np.isnan(norms)] for norms in map(finite, profiles)]
    found = [norms for norms in found if norms.size]
    if not found:
        return -1, 0
    high = math.ceil(np.median([norms.max() for norms in found]))
    return min(high - 1, max(math.floor(min(norms.min() for norms in found)), high - DECADES)), high


def _color_range(norms: np.ndarray, vmin: float | None, vmax: float | None) -> tuple[float, float]:
    if not norms.size:
        return (0.0 if vmin is None else vmin), (1.0 if vmax is None else vmax)
    high = math.ceil(norms.max()) if vmax is None else vmax
    low = max(math.floor(norms.min()), high - DECADES) if vmin is None else vmin
    return low, max(high, low + 1)
