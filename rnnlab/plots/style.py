"""What all figures share: axes, colours, labels."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import ScaledTranslation
from PIL import Image

DPI = 150
LEGEND_DROP = 40  # points
LABEL_SHARE = 0.07
"""Of the width of an axis, what the label of a tick takes."""
INK, FAINT, GRID = "#222222", "#767676", "#e3e3e3"
COLORS = (
    "#0173b2",
    "#de8f05",
    "#029e73",
    "#d55e00",
    "#cc78bc",
    "#ca9161",
    "#fbafe4",
    "#949494",
    "#ece133",
    "#56b4e9",
)
"""Told apart by colour-blind readers too: seaborn's palette `colorblind`, which takes a second to import."""
MARKERS = "osD^vPX*hp"
DASHES = ("-", (0, (5, 1.5)), (0, (1, 1.2)), (0, (4, 1.2, 1, 1.2)))


class Look(NamedTuple):
    """How one arm is drawn: by colour, and by marker and dashes for a print without colour."""

    color: str
    marker: str
    dashes: str | tuple


def looks(names: Iterable[str]) -> dict[str, Look]:
    """Give every name a look of its own."""
    return {
        name: Look(COLORS[i % len(COLORS)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, name in enumerate(dict.fromkeys(names))
    }


def axes(width: float, height: float) -> Axes:
    """Open a figure of its own.

    Args:
        width: in inches.
        height: in inches.

    Returns:
        Its only axes.
    """
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure.add_subplot()


def panels(count: int, columns: int, width: float, height: float) -> np.ndarray:
    """Open a figure of several axes.

    Args:
        count: how many.
        columns: at most so many a row.
        width: of one, in inches.
        height: of one, in inches.

    Returns:
        (count,) the axes, row by row.
    """
    columns = min(columns, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(width * columns, height * rows), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return np.array([figure.add_subplot(rows, columns, k + 1) for k in range(count)])


def dress(ax: Axes, title: str, xlabel: str, ylabel: str, grid: Literal["both", "x", "y"] | None = "both") -> None:
    """Name the axes and take away every line that says nothing."""
    ax.set_title(title, loc="left", fontsize=11, color=INK, pad=13)
    ax.set_xlabel(xlabel, color=INK)
    ax.set_ylabel(ylabel, color=INK)
    ax.tick_params(colors=INK, labelsize=9)
    ax.spines[["top", "right"]].set_visible(False)
    for side in ("left", "bottom"):
        ax.spines[side].set_color(FAINT)
    if grid:
        ax.set_axisbelow(True)
        ax.grid(axis=grid, color=GRID, linewidth=0.7)


def log_axis(ax: Axes, which: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, once all is drawn: whole decades are named, or 1, 2 and 5 of a few, or parts of one."""
    getattr(ax, f"set_{which}scale")("log")
    axis = getattr(ax, f"{which}axis")
    low, high = sorted(axis.get_view_interval())
    few = high / low < 100
    axis.set_major_locator(MaxNLocator(4) if high / low < 10 else LogLocator(subs=(1.0, 2.0, 5.0) if few else (1.0,)))
    axis.set_minor_formatter(NullFormatter())
    if few:
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def log_ticks(ax: Axes, values: np.ndarray) -> None:
    """Make x logarithmic with ticks at these values, and name those that leave room for each other."""
    ax.set_xscale("log")
    places, named = np.log10(values), []
    for place, value in zip(places, values, strict=True):
        apart = not named or place - named[-1][0] >= LABEL_SHARE * (places[-1] - places[0])
        named.append((place, f"{value:,}")) if apart else named.append((named[-1][0], ""))
    ax.set_xticks(values, [label for _, label in named])
    ax.minorticks_off()


def legend_below(ax: Axes, handles: Sequence[Artist], columns: int) -> None:
    """Put the legend where it can hide no data: under the axes and the label of x."""
    down = ScaledTranslation(0, -LEGEND_DROP / 72, figure_of(ax).dpi_scale_trans)
    ax.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=ax.transAxes + down,
        ncols=columns,
        fontsize=9,
        frameon=False,
        borderaxespad=0,
        handlelength=2.4,
    )


def figure_of(ax: Axes) -> Figure:
    """The whole figure that the axes are part of."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure


def picture(ax: Axes) -> Image.Image:
    """Draw the figure of these axes."""
    figure = figure_of(ax)
    figure.set_dpi(DPI)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once, where `savefig` draws twice and packs the picture
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def save(ax: Axes, path: Path) -> None:
    """Write the figure of these axes as PNG, of 256 colours, which takes a third of the room."""
    fewer = picture(ax).quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    fewer.save(path, "PNG", optimize=True)
