"""How much better one sweep does than another, arm by arm."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rnnlab.common.errors import UserError
from rnnlab.plots.runs import dot, in_phase, one_task
from rnnlab.plots.style import FAINT, axes, dress, legend_below
from rnnlab.statistics.ablation import task_of
from rnnlab.statistics.comparisons import SIGNIFICANT
from rnnlab.statistics.two_sweeps import contrast_table

CLEAR, OPEN = "#0173b2", "#767676"
FAR = 10
"""Times the distance between baseline and criterion from which on differences need a scale that bends."""


def difference_forest(a: pd.DataFrame, b: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw by how much each arm of sweep B is better than in sweep A, with its 95% interval, what gains most on top.

    Filled where the difference is clear at the 5% level after Holm's correction for all arms. Where a difference is
    many times the distance from baseline to criterion, the axis is linear up to that distance, and logarithmic beyond.

    Args:
        a: runs of one task, from `rnnlab.load_sweep`.
        b: runs of the same task in the other sweep.
        ax: where to draw.

    Returns:
        The axes; numbers are those of `rnnlab.statistics.two_sweeps.contrast_table`.

    Raises:
        UserError: if there is no arm that both have a final result of, or there are several tasks.
    """
    for runs in (a, b):
        in_phase(one_task(runs), "final")
    table = contrast_table(a, b).sort_values("difference", kind="stable")
    if table.empty:
        raise UserError("the two sweeps have no arm on one task in common: give runs that share some")
    rows = table[["difference", "difference_low", "difference_high"]].to_numpy(float)
    ax = ax or axes(7.2, 2.0 + 0.32 * len(table))
    ax.axvline(0, color=FAINT, linewidth=1.3)
    for y, ((value, low, high), p) in enumerate(zip(rows, table["p_task"], strict=True)):
        color, face = (CLEAR, CLEAR) if p < SIGNIFICANT else (OPEN, "white")
        ax.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.7)
        ax.plot([value], [y], color=color, marker="o", markerfacecolor=face, markersize=6.5, linestyle="none")
    task = task_of(a.iloc[0])
    unit = abs(task.solved_at - task.baseline.score)
    if np.nanmax(np.abs(rows)) > FAR * unit:
        ax.set_xscale("symlog", linthresh=unit)
    ax.set_yticks(range(len(table)), table["arm"].tolist())
    ax.set_ylim(-0.6, len(table) - 0.4)
    dress(ax, f"B against A, {table['task'].iloc[0]}", f"B is better by ({task.score_name})", "", grid="x")
    shown = "shown, after correction" if len(table) > 1 else "shown"
    hollow = Line2D([], [], color=OPEN, marker="o", markerfacecolor="white", linestyle="none", label="not shown")
    legend_below(ax, [dot(CLEAR, "o", f"a difference is {shown}"), hollow], columns=2)
    return ax
