"""One cell a value: what heat maps share."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.image import AxesImage
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from rnnlab.plots.style import figure_of, legend_below

HATCHED: dict[str, Any] = {"facecolor": "#f6f6f6", "edgecolor": "#bdbdbd", "hatch": "////"}
"""The look of what was not measured."""


def raster(ax: Axes, values: np.ndarray, low: float, high: float) -> AxesImage:
    """Draw (rows, T) values as cells, the first row lowest, hatched where they are NaN."""
    ax.patch.set(**HATCHED)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    return _cells(ax, values, cmap="viridis", vmin=low, vmax=high)


def blacken(ax: Axes, where: np.ndarray) -> None:
    """Draw cells (rows, T) in black."""
    _cells(ax, np.where(where, 0.0, np.nan), cmap=ListedColormap(["black"]))


def explain(ax: Axes, missing: bool, zero: bool = False) -> None:
    """Say under the axes what the cells without colour mean, where there are any."""
    shown = [Patch(**HATCHED, label="not measured")] * missing + [Patch(facecolor="black", label="exactly zero")] * zero
    if shown:
        legend_below(ax, shown, columns=2)


def color_bar(ax: Axes, image: AxesImage, label: str, extend: str = "neither") -> None:
    """Add the scale of the colours, named."""
    bar = figure_of(ax).colorbar(image, ax=ax, extend=extend, pad=0.02)
    bar.set_label(label.replace("-", "\N{MINUS SIGN}"))
    low, high = image.get_clim()
    bar.locator = MaxNLocator(7, steps=[1, 2, 5, 10], integer=high - low > 2)
    bar.ax.tick_params(labelsize=9)
    bar.outline.set_visible(False)  # type: ignore[operator]


def _cells(ax: Axes, values: np.ndarray, **look: object) -> AxesImage:
    """Pixels without interpolation; NaN shows what lies beneath."""
    rows, T = values.shape
    extent = (-0.5, T - 0.5, -0.5, rows - 0.5)
    return ax.imshow(values, origin="lower", aspect="auto", interpolation="nearest", extent=extent, **look)  # type: ignore[arg-type]
