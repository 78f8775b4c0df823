"""Every arm on every task of a sweep in one figure: which solves what, at which distance."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize, TwoSlopeNorm

from rnnlab.plots.runs import in_phase
from rnnlab.plots.style import INK, axes, dress
from rnnlab.statistics.ablation import natural
from rnnlab.statistics.arms_by_task import arms_by_task


class _Look(NamedTuple):
    """How one quantity is shown."""

    title: str
    colors: str
    text: str
    bound: str = ""


LOOKS = {
    "solved": _Look("Share of fresh seeds that solve the task, with 95% bounds", "viridis", "{:.2f}", "{:.2f}"),
    "progress": _Look(
        "Mean progress of fresh seeds: 0 is the trivial baseline, 1 the criterion", "viridis", "{:.2f}", "{:.2f}"
    ),
    "steps_to_solve": _Look(
        "Updates by which half of the seeds have solved the task", "viridis_r", "{:,.0f}", "{:,.0f}"
    ),
    "decay_rate_init": _Look("Decay of the gradient before training, decades a step of lag", "RdBu", "{:+.3f}"),
    "decay_rate": _Look("Decay of the gradient at the last recorded step, decades a step of lag", "RdBu", "{:+.3f}"),
}
DARK = 0.45
"""Brightness of a cell below which its text is white."""


def arms_matrix(runs: pd.DataFrame, quantity: str = "solved", ax: Axes | None = None) -> Axes:
    """Draw one number for every arm on every task, the arm that solves most on top, tasks by kind and length.

    Args:
        runs: runs of any tasks, from `rnnlab.load_sweep`.
        quantity: solved, progress, steps_to_solve, decay_rate_init or decay_rate.
        ax: where to draw.

    Returns:
        The axes; numbers are those of `rnnlab.statistics.arms_by_task.arms_by_task`. Grey is what there is no number
        of: not solved by half of the seeds, or no single signal whose decay could be measured.

    Raises:
        UserError: if there is no final run.
    """
    in_phase(runs, "final")
    table = arms_by_task(runs, quantity)
    return draw_matrix(table, table if quantity == "solved" else arms_by_task(runs, "solved"), quantity, ax)


def draw_matrix(table: pd.DataFrame, shares: pd.DataFrame, quantity: str, ax: Axes | None = None) -> Axes:
    """Draw the rows that `arms_by_task` gives for one quantity, arms in the order of those it gives for "solved"."""
    look = LOOKS[quantity]
    sums = {str(arm): group["value"].to_numpy(float).sum() for arm, group in shares.groupby("arm")}
    arms = sorted(sums, key=lambda arm: -sums[arm])
    tasks = sorted({str(task) for task in table["task"]}, key=natural)
    values = table.pivot(index="arm", columns="task", values="value").reindex(index=arms, columns=tasks).to_numpy(float)
    ax = ax or axes(max(7.2, 2.6 + 0.78 * len(tasks)), 1.9 + 0.36 * len(arms))
    image = ax.imshow(values, cmap=look.colors, norm=_scale(quantity, values), aspect="auto")
    ax.set_facecolor("#e4e4e4")
    for row in table.to_dict("records"):
        x, y = tasks.index(row["task"]), arms.index(row["arm"])
        if math.isfinite(row["value"]):
            red, green, blue, _ = image.to_rgba(np.array([row["value"]]))[0]
            color = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < DARK else INK
            bounds = "–".join(look.bound.format(b) if math.isfinite(b) else "" for b in (row["low"], row["high"]))
            place = y - 0.14 if look.bound else y
            ax.text(x, place, look.text.format(row["value"]), ha="center", va="center", fontsize=8.5, color=color)
            ax.text(x, y + 0.25, bounds if look.bound else "", ha="center", va="center", fontsize=5.5, color=color)
    ax.set_yticks(range(len(arms)), arms)
    dress(ax, look.title, "length of the task (time steps)", "arm", grid=None)
    ax.xaxis.labelpad = 18
    _name_tasks(ax, table.drop_duplicates("task"), tasks)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def _name_tasks(ax: Axes, table: pd.DataFrame, tasks: list[str]) -> None:
    """Lengths under their columns, and under those of one kind its name."""
    rows = table.set_index("task").loc[tasks]
    ax.set_xticks(range(len(tasks)), [str(length) for length in rows["length"]])
    for kind, group in rows.reset_index().groupby("kind"):
        first, last = int(group.index[0]), int(group.index[-1])
        name = str(kind).replace("_", " " if last > first else "\n")
        ax.annotate(
            name, ((first + last) / 2, 0), (0, -22), ax.get_xaxis_transform(), "offset points",
            ha="center", va="top", fontsize=9, color=INK,
        )  # fmt: skip
        if first:
            ax.axvline(first - 0.5, color="white", linewidth=3)


def _scale(quantity: str, values: np.ndarray) -> Normalize:
    """Colours: shares from 0 to 1, updates by their logarithm, decay around zero."""
    finite = values[np.isfinite(values)]
    if quantity in ("solved", "progress") or not finite.size:
        return Normalize(0, 1)
    if quantity == "steps_to_solve":
        return LogNorm(finite.min(), max(finite.max(), finite.min() * 1.01))
    widest = max(float(np.abs(finite).max()), 1e-9)
    return TwoSlopeNorm(0, -widest, widest)
