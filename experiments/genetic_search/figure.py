"""The figure of the page: the best validation loss so far, against trials."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rnnlab.plots.style import axes, dress, legend_below, log_axis, looks
from rnnlab.statistics.intervals import student
from rnnlab.sweep.plan.samplers import startup_trials

from .compare import best_so_far
from .searches import SAMPLERS


def draw(runs: pd.DataFrame) -> Axes:
    """Draw the geometric mean over each sampler's searches with its 95% interval, and every search as a faint line.

    Args:
        runs: of `experiments.genetic_search.searches.search`.

    Returns:
        The axes.
    """
    path = best_so_far(runs)
    ax = axes(7.2, 4.6)
    for sampler, look in looks(SAMPLERS).items():
        lines = path.loc[path["sampler"] == sampler].pivot(index="trial", columns="seed", values="best")
        trials, values = lines.index.to_numpy() + 1, lines.to_numpy(float)
        ax.plot(trials, values, color=look.color, linewidth=0.6, alpha=0.35, drawstyle="steps-post")
        middle, half = student(np.log10(values.T))
        low, middle, high = (10**log for log in (middle - half, middle, middle + half))
        ax.fill_between(trials, low, high, color=look.color, alpha=0.15, linewidth=0, step="post")
        label = f"{sampler}, geometric mean of {values.shape[1]} searches and its 95% interval"
        ax.plot(
            trials, middle, color=look.color, linestyle=look.dashes, linewidth=2, drawstyle="steps-post", label=label
        )
    known = startup_trials(int(path["trial"].to_numpy().max()) + 1)
    ax.axvline(known, color="black", linewidth=0.8, linestyle=":", label=f"the first {known} points are the same")
    losses = path["best"].to_numpy(float)
    ax.set_ylim(losses.min() * 0.8, losses.max() * 1.1)
    log_axis(ax, "y")
    dress(ax, "Best validation loss so far", "search trials", "mean squared error")
    legend_below(ax, [line for line in ax.get_lines() if not str(line.get_label()).startswith("_")], columns=1)
    return ax
