"""One cell a value: what heat maps share."""

import warnings
from collections.abc import Callable
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
MOST_COLUMNS = 400
"""Columns that the narrowest panel has pixels for."""


def raster(ax: Axes, values: np.ndarray, low: float, high: float) -> AxesImage:
    """Draw (rows, T) values as cells, the first row lowest, hatched where they are NaN."""
    ax.patch.set(**HATCHED)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # columns of nothing but NaN stay NaN
        pooled = _pooled(values, np.nanmax)
    return _cells(ax, pooled, values.shape[1], cmap="viridis", vmin=low, vmax=high)


def blacken(ax: Axes, where: np.ndarray) -> None:
    """Draw cells (rows, T) in black."""
    _cells(ax, np.where(_pooled(where, np.all), 0.0, np.nan), where.shape[1], cmap=ListedColormap(["black"]))


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


def _pooled(values: np.ndarray, of: Callable[..., np.ndarray]) -> np.ndarray:
    """Neighbouring columns as one where there are more than pixels, which would show some and drop others."""
    width = -(-values.shape[1] // MOST_COLUMNS)
    starts = range(0, values.shape[1], width)
    return np.stack([of(values[:, start : start + width], axis=1) for start in starts], axis=1)


def _cells(ax: Axes, values: np.ndarray, T: int, **look: Any) -> AxesImage:
    """Pixels without interpolation over T steps; NaN shows what lies beneath."""
    extent = (-0.5, T - 0.5, -0.5, len(values) - 0.5)
    return ax.imshow(values, origin="lower", aspect="auto", interpolation="nearest", extent=extent, **look)
