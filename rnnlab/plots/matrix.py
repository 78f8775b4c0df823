"""Every arm on every task of a sweep in one figure: which solves what, at which distance."""

import math
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.image import AxesImage

from rnnlab.plots.runs import in_phase
from rnnlab.plots.style import INK, axes, dress
from rnnlab.statistics.ablation import natural
from rnnlab.statistics.arms_by_task import arms_by_task


class _Look(NamedTuple):
    """How one quantity is shown: title, colours, what their two ends mean, how number and bounds are written."""

    title: str
    colors: str
    ends: tuple[str, str]
    text: str
    bound: str = ""


LOOKS = {
    "solved": _Look(
        "Share of fresh seeds that solve the task, with 95% bounds", "viridis", ("none", "all"), "{:.2f}", "{:.2f}"
    ),
    "progress": _Look(
        "Mean progress of fresh seeds: 0 is the trivial baseline, 1 the criterion",
        "viridis", ("baseline", "criterion"), "{:.2f}", "{:.2f}",
    ),
    "steps_to_solve": _Look(
        "Updates by which half of the seeds have solved the task", "YlOrBr", ("fast", "slow"), "{:,.0f}", "{:,.0f}"
    ),
    "decay_rate_init": _Look(
        "Decay of the gradient before training, decades a step of lag", "RdBu", ("vanishes", "grows"), "{:+.3f}"
    ),
    "decay_rate": _Look(
        "Decay of the gradient at the last recorded step, decades a step of lag",
        "RdBu", ("vanishes", "grows"), "{:+.3f}",
    ),
}  # fmt: skip
STEEP = 0.4
"""Decay rate of the darkest colour: figures before and after training share one scale."""
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
        if math.isfinite(row["value"]):
            red, green, blue, _ = image.to_rgba(np.array([row["value"]]))[0]
            color = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < DARK else INK
            _write_number(ax, tasks.index(row["task"]), arms.index(row["arm"]), row, look, color)
    ax.set_yticks(range(len(arms)), arms)
    dress(ax, look.title, "length, as each task counts it", "arm", grid=None)
    ax.xaxis.labelpad = 18
    _name_tasks(ax, table.drop_duplicates("task"), tasks)
    ax.spines[["left", "bottom"]].set_visible(False)
    _name_colors(ax, image, look.ends)
    return ax


def _write_number(ax: Axes, x: int, y: int, row: dict[Any, Any], look: _Look, color: str) -> None:
    """The number in its cell, with its bounds beneath; a nought alone, so that the others are seen."""
    if row["value"] == 0 and look.bound:
        ax.text(x, y, "0", ha="center", va="center", fontsize=7, color=color, alpha=0.6)
        return
    ax.text(
        x, y - 0.14 * bool(look.bound), look.text.format(row["value"]),
        ha="center", va="center", fontsize=8.5, color=color,
    )  # fmt: skip
    if look.bound:
        bounds = "–".join(look.bound.format(b) if math.isfinite(b) else "∞" for b in (row["low"], row["high"]))
        ax.text(x, y + 0.25, bounds, ha="center", va="center", fontsize=5.5, color=color)


def _name_colors(ax: Axes, image: AxesImage, ends: tuple[str, str]) -> None:
    """A bar of the colours beside the figure, with a word at either end."""
    bar = ax.figure.colorbar(image, ax=ax, fraction=0.02, pad=0.015, aspect=40, format="{x:,g}")
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    bar.ax.tick_params(labelsize=8, length=0)
    for end, y, side in zip(ends, (-0.012, 1.012), ("top", "bottom"), strict=True):
        bar.ax.text(0.5, y, end, transform=bar.ax.transAxes, ha="center", va=side, fontsize=8.5, color=INK)


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
    return Normalize(-STEEP, STEEP)
