"""What a figure shows, read back from its artists, and a profile to draw."""

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from rnnlab.gradients.profile import DIMS

S, T = 5, 30
LONG = "chrono LSTM with a rather long name"


def profile(rate: float = -0.05, states: tuple[str, ...] = ("h",), layers: int = 1) -> xr.Dataset:
    """Norms that decay at a given rate at every recorded step, one decade lower a recorded step."""
    lag = np.arange(T)[::-1]
    norms = np.empty((S, layers, 1, len(states), T))
    for index in np.ndindex(norms.shape[:-1]):
        norms[index] = rate * lag - index[0] - 10.0 * index[1] - 100.0 * index[3]
    values = {"log10_grad_norm": norms, "log10_grad_norm_min": norms - 0.5, "log10_grad_norm_max": norms + 0.25}
    values["zero_fraction"] = np.zeros_like(norms)
    values["loss_fraction"] = np.broadcast_to(lag == 0, norms.shape).astype(float)
    return xr.Dataset(
        {name: ((*DIMS, "time"), array) for name, array in values.items()}
        | {f"{name}_by_lag": ((*DIMS, "lag"), array[..., ::-1]) for name, array in values.items()},
        coords={
            "step": np.arange(S), "layer": np.arange(layers), "direction": ["forward"], "state": list(states),
            "time": np.arange(T), "lag": np.arange(T), "train_step": ("step", [0, 1, 10, 100, 1000]),
            "call": ("layer", np.zeros(layers, int)), "module": ("layer", ["rnn"] * layers),
        },
    )  # fmt: skip


def legend(ax: Axes) -> list[str]:
    """Texts of the legend, in order."""
    shown = ax.get_legend()
    return [text.get_text() for text in shown.get_texts()] if shown else []


def rows(ax: Axes) -> list[str]:
    """Labels of the rows, top to bottom."""
    return [text.get_text() for text in ax.get_yticklabels()][::-1]


def xs(line: Line2D) -> list[float]:
    """Drawn x of a line."""
    return np.asarray(line.get_xdata(), float).tolist()


def ys(line: Line2D) -> list[float]:
    """Drawn y of a line."""
    return np.asarray(line.get_ydata(), float).tolist()


def lines(ax: Axes) -> dict[str, Line2D]:
    """Lines by their label."""
    return {str(line.get_label()): line for line in ax.get_lines()}


def color_bar(ax: Axes) -> Colorbar:
    """That of the first image."""
    bar = ax.images[0].colorbar
    assert bar is not None
    return bar


def pixels(image: AxesImage) -> np.ndarray:
    """Drawn values, NaN where there is none."""
    return np.ma.filled(np.ma.masked_invalid(np.ma.asarray(image.get_array())), np.nan)
