"""Success against the length of the task."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rnnlab.common.errors import UserError
from rnnlab.plots.runs import in_phase
from rnnlab.plots.style import axes, dress, legend_below, log_ticks, looks
from rnnlab.statistics.arms_by_task import arms_by_task

ASIDE = 0.012
"""Decades between the points of neighbouring arms, so that equal ones stay visible."""


def success_by_length(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the share of fresh runs that solve a task against its length, one line per arm, with 95% intervals.

    Points of different arms at one length stand slightly beside each other.

    Args:
        runs: runs of one kind of task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes; numbers are those of `rnnlab.statistics.arms_by_task.arms_by_task`.

    Raises:
        UserError: if there is no final run, or there are several kinds of tasks, whose lengths do not compare.
    """
    in_phase(runs, "final")
    kinds = sorted(runs["param.task.kind"].unique())
    if len(kinds) > 1:
        raise UserError(
            f"runs hold tasks of the kinds {', '.join(kinds)}, whose lengths do not compare: "
            f"choose one, as in runs[runs['param.task.kind'] == '{kinds[0]}'], or draw `arms_matrix`"
        )
    table = arms_by_task(runs)
    ax = ax or axes(7.2, 4.4)
    arms = looks(sorted(table["arm"].unique()))
    for place, (name, look) in enumerate(arms.items()):
        rows = table.loc[table["arm"] == name].sort_values("length")
        beside = rows["length"].to_numpy(float) * 10 ** (ASIDE * (place - (len(arms) - 1) / 2))
        share, low, high = (rows[column].to_numpy(float) for column in ("value", "low", "high"))
        ax.vlines(beside, low, high, color=look.color, linewidth=1.6, alpha=0.55)
        ax.plot(
            beside, share,
            color=look.color, marker=look.marker, linestyle=look.dashes, markersize=5.5, linewidth=1.6, label=name,
        )  # fmt: skip
    log_ticks(ax, np.unique(table["length"].to_numpy()))
    ax.set_ylim(-0.04, 1.04)
    dress(ax, "Runs that solve the task, by its length", "length of the task (time steps)", "share of runs solved")
    legend_below(ax, ax.get_lines(), columns=4)  # names may begin with _, which matplotlib leaves out by itself
    return ax
