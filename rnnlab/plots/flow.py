"""Gradient flow: the network unrolled in time, and how much gradient comes back along each arrow."""

import math

import numpy as np
import seaborn as sns
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from rnnlab.plots.profiles import DECADES, finite, norm_label, select, steps_back, train_steps, vanished
from rnnlab.plots.style import FAINT, INK, axes, dress, figure_of, legend_below

COLUMNS = 10
"""Time steps shown at most, evenly spread."""
THIN, THICK = 0.7, 7.0  # points
BOX, GAP, LOSS = 22, 13, 30  # points: a box, from its centre to the end of an arrow, and up to where losses stand
NOT_MEASURED, ZERO = "not measured", "exactly zero"


def gradient_flow(
    profile: xr.Dataset, state: str = "h", direction: str = "forward", step: int = -1, ax: Axes | None = None
) -> Axes:
    """Draw the layers unrolled in time, with arrows along which the gradient comes back to earlier states.

    Width and colour of an arrow give the total gradient norm of the state that it points to: the wider and darker,
    the more arrives. Of a long sequence some time steps are shown, and an arrow then leads over those between. Short
    arrows from above show where losses enter, here or since the step shown before. Grey lines are what the network
    computes; how much gradient flows down along them, or comes from a loss, is not part of a profile.

    Args:
        profile: gradient profile of one run.
        state: which state, `h` or `c`.
        direction: `forward` or `reverse`.
        step: index of the recorded training step, 0 at initialisation, -1 the last.
        ax: where to draw.

    Returns:
        The axes; the colours reach from the largest norm shown at most twelve decades down.

    Raises:
        UserError: if the profile has no such state or direction.
    """
    layers = [select(profile, state, k, direction).isel(step=step) for k in range(profile.sizes["layer"])]
    T, L = profile.sizes["time"], len(layers)
    shown = np.unique(np.linspace(0, T - 1, min(T, COLUMNS)).round().astype(int))
    norms = np.stack([finite(one)[shown] for one in layers])  # (L, columns)
    zero = np.stack([vanished(one)[shown] for one in layers])
    ax = ax or axes(9.2, 2.6 + 0.85 * L)
    colors = _colors(norms)
    back = -1 if direction == "forward" else 1  # from a column to the one the gradient reaches next
    _network(ax, L, profile["time"].values[shown], state)
    for layer in range(L):
        heads = range(len(shown) - 1) if back < 0 else range(1, len(shown))
        for head in heads:
            _arrow(ax, (head - back, layer), (head, layer), norms[layer, head], bool(zero[layer, head]), colors)
    _losses(ax, profile, [one["loss_fraction"].values > 0 for one in layers], shown)
    apart = steps_back(round((T - 1) / max(1, len(shown) - 1)))
    when = f"training step {train_steps(profile)[step]:,}"
    dress(ax, f"Gradient flow, state {state}, {when}", f"time step (an arrow spans about {apart})", "layer", grid=None)
    bar = figure_of(ax).colorbar(colors, ax=ax, pad=0.01)
    bar.set_label(norm_label(state))
    bar.outline.set_visible(False)  # type: ignore[operator]
    _explain(ax)
    return ax


def _colors(norms: np.ndarray) -> ScalarMappable:
    """Dark for the largest norm; the scale of the widths too."""
    seen = norms[np.isfinite(norms)]
    high = math.ceil(seen.max()) if seen.size else 1
    low = max(math.floor(seen.min()), high - DECADES) if seen.size else 0
    return ScalarMappable(Normalize(min(low, high - 1), high), sns.color_palette("crest", as_cmap=True))


def _network(ax: Axes, L: int, time: np.ndarray, state: str) -> None:
    """Boxes of the states, and the connections along which they are computed."""
    for column, t in enumerate(time):
        ax.plot([column, column], [-0.6, L - 1], color="#d5d5d5", linewidth=1, zorder=1)
        ax.annotate(rf"$x_{{{t}}}$", (column, -0.65), ha="center", va="top", fontsize=10, color=FAINT)
        for layer in range(L):
            ax.plot(column, layer, marker="s", markersize=BOX, color="white", markeredgecolor=INK, zorder=3)
            ax.annotate(
                rf"${state}_{{{t}}}$", (column, layer), ha="center", va="center", fontsize=9, color=INK, zorder=4
            )
    ax.set_xlim(-0.6, len(time) - 0.4)
    ax.set_ylim(-1.05, L - 0.2)
    ax.set_xticks(range(len(time)), [str(t) for t in time])
    ax.set_yticks(range(L), [str(layer) for layer in range(L)])
    ax.tick_params(length=0)


def _arrow(
    ax: Axes,
    tail: tuple[float, float],
    head: tuple[float, float],
    norm: float,
    zero: bool,
    colors: ScalarMappable,
) -> None:
    """One arrow, or a dotted line where nothing was measured or nothing arrives."""
    if not math.isfinite(norm):
        color, label = (INK, ZERO) if zero else (FAINT, NOT_MEASURED)
        ax.plot(
            [tail[0], head[0]], [tail[1], head[1]], color=color, linestyle=":", linewidth=1.5, zorder=2, label=label
        )
        return
    low, high = colors.get_clim()
    share = min(max((norm - low) / (high - low), 0), 1)
    width = THIN + (THICK - THIN) * share
    arrow = FancyArrowPatch(
        tail, head, arrowstyle=f"-|>,head_length={0.25 + 0.03 * width},head_width={0.14 + 0.04 * width}",
        mutation_scale=14, shrinkA=GAP, shrinkB=GAP, linewidth=width, color=colors.get_cmap()(share), zorder=2,
        joinstyle="miter",
    )  # fmt: skip
    ax.add_patch(arrow)


def _losses(ax: Axes, profile: xr.Dataset, enters: list[np.ndarray], shown: np.ndarray) -> None:
    """Where gradients enter from outside: arrows into the states at the top of each module, (T,) masks a layer."""
    stacks = [
        (str(module), int(call)) for module, call in zip(*(profile[n].values for n in ("module", "call")), strict=True)
    ]
    for layer in sorted({stack: k for k, stack in enumerate(stacks)}.values()):
        for column, (before, t) in enumerate(zip([-1, *shown[:-1]], shown, strict=True)):
            if enters[layer][before + 1 : t + 1].any():
                look: dict = {"color": INK, "fontsize": 8, "ha": "center", "va": "bottom"}
                arrow = {"arrowstyle": "->", "color": INK, "shrinkB": GAP}
                ax.annotate("loss", (column, layer), (0, LOSS), textcoords="offset points", arrowprops=arrow, **look)


def _explain(ax: Axes) -> None:
    """Name the dotted lines, where there are any."""
    drawn = {str(line.get_label()) for line in ax.get_lines()}
    looks = {NOT_MEASURED: FAINT, ZERO: INK}
    handles = [
        Line2D([], [], color=color, linestyle=":", label=label) for label, color in looks.items() if label in drawn
    ]
    if handles:
        legend_below(ax, handles, columns=2)
