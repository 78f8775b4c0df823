"""One line for every run, in the colour of its arm: the figures of published results."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from rnnlab.plots.style import FAINT, axes, dress, legend_below, looks

Line = tuple[Sequence[float], Sequence[float]]


def curves(
    lines: Mapping[str, Sequence[Line]],
    title: str,
    xlabel: str,
    ylabel: str,
    levels: Mapping[str, float] | None = None,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw lines by arm, one a seed, and levels to hold them against.

    Args:
        lines: by arm, x and y of each seed.
        title: what is shown.
        xlabel: name of x.
        ylabel: name of y.
        levels: horizontal lines by name, such as a baseline.
        log: whether y is spaced by decades.
        ax: where to draw.

    Returns:
        The axes.
    """
    ax = ax or axes(7.2, 4.4)
    handles = []
    for name, look in looks(lines).items():
        for k, (x, y) in enumerate(lines[name]):
            shown = ax.plot(x, y, color=look.color, linestyle=look.dashes, linewidth=1.3, alpha=0.85, label=name)
            handles += shown if k == 0 else []
    for name, value in (levels or {}).items():
        ax.axhline(value, color=FAINT, linewidth=0.9, linestyle=(0, (2, 2)))
        ax.annotate(name, (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom", fontsize=8.5)
    if log:
        ax.set_yscale("log")
    dress(ax, title, xlabel, ylabel)
    legend_below(ax, handles, columns=4)
    return ax


def points(
    values: Mapping[str, Sequence[float]],
    expected: Mapping[str, float],
    title: str,
    xlabel: str,
    ax: Axes | None = None,
) -> Axes:
    """Draw the value of every seed in a row of its arm, and what was expected as a stroke.

    Args:
        values: by arm, one a seed.
        expected: by arm, what the source says.
        title: what is shown.
        xlabel: name of the value.
        ax: where to draw.

    Returns:
        The axes.
    """
    ax = ax or axes(7.2, 1.6 + 0.4 * len(values))
    for row, (name, look) in enumerate(looks(values).items()):
        ax.plot(values[name], np.full(len(values[name]), row), look.marker, color=look.color, alpha=0.8, markersize=6)
        if name in expected:
            ax.plot([expected[name]] * 2, [row - 0.35, row + 0.35], color=FAINT, linewidth=2)
    ax.set_yticks(range(len(values)), list(values))
    ax.set_ylim(len(values) - 0.5, -0.5)
    dress(ax, title, f"{xlabel} (stroke: expected)" if expected else xlabel, "", grid="x")
    return ax
