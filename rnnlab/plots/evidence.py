"""Figures that tell how sure a sweep is: when arms solve a task, which beats which, and whether decay foretells it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rnnlab.plots.arms import refuse_several_tasks, spans_decades
from rnnlab.plots.style import FAINT, INK, axes, dress, legend_below, looks

BANDS = 4
"""Intervals of more curves than this would hide one another."""
RATES = {"decay_rate_init": "decay rate before training", "decay_rate_early": "decay rate early in training"}


def solve_curves(table: pd.DataFrame, end: float, ax: Axes | None = None) -> Axes:
    """Draw the share of runs that have solved the task against training steps, a staircase per arm.

    Args:
        table: of one task; columns arm, step, solved, low, high: the share from this step on, and its bounds.
        end: the last training step, up to which the last share holds.
        ax: where to draw.

    Returns:
        The axes.
    """
    ax = ax or axes(7.2, 4.4)
    solving = list(dict.fromkeys(table.loc[table["solved"] > 0, "arm"]))
    for name, look in looks(sorted(table["arm"].unique())).items():
        if name not in solving:
            continue
        rows = table.loc[table["arm"] == name].sort_values("step")
        steps, share, low, high = (
            np.append(values, last)
            for values, last in (
                (rows["step"], end),
                *((rows[column], rows[column].iloc[-1]) for column in ("solved", "low", "high")),
            )
        )
        ax.step(steps, share, where="post", color=look.color, linestyle=look.dashes, linewidth=1.7, label=name)
        if len(solving) <= BANDS:
            ax.fill_between(steps, low, high, where=share > 0, step="post", color=look.color, alpha=0.1, linewidth=0)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlim(0, end)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    dress(ax, "Runs that have solved the task", "training step (updates)", "share of runs")
    by_name = {str(line.get_label()): line for line in ax.get_lines()}
    handles = [by_name[name] for name in solving]
    never = [arm for arm in dict.fromkeys(table["arm"]) if arm not in solving]
    if never:
        handles.append(Line2D([], [], linestyle="none", label=f"never: {', '.join(never)}"))
    legend_below(ax, handles, columns=1 if len(", ".join(never)) > 40 else 3)
    return ax


def win_matrix(table: pd.DataFrame, arms: Sequence[str], significant: float, ax: Axes | None = None) -> Axes:
    """Draw the chance that a run of one arm beats a run of another, for every two arms.

    Args:
        table: one row a pair; columns arm, other, probability, p_all (corrected p-value).
        arms: names, best first.
        significant: a pair whose p-value lies below is starred.
        ax: where to draw.

    Returns:
        The axes.
    """
    n = len(arms)
    ax = ax or axes(4.0 + 0.62 * n, 1.9 + 0.48 * n)
    place = {name: k for k, name in enumerate(arms)}
    chance = np.full((n, n), np.nan)
    for row in table.to_dict("records"):
        i, j = place[row["arm"]], place[row["other"]]
        chance[i, j], chance[j, i] = row["probability"], 1 - row["probability"]
        star = "*" if row["p_all"] < significant else ""
        for y, x in ((i, j), (j, i)):
            color = "white" if abs(chance[y, x] - 0.5) > 0.35 else INK
            ax.text(x, y, f"{chance[y, x]:.2f}{star}", ha="center", va="center", fontsize=8.5, color=color)
    ax.imshow(chance, cmap="RdBu", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(n), arms, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), arms)
    dress(
        ax,
        "Chance that row beats column",
        "arm in the column",
        "arm in the row",
        grid=None,
    )
    return ax


def health_scatter(runs: pd.DataFrame, measure: str = "decay_rate_init", ax: Axes | None = None) -> Axes:
    """Draw the score of every run against how its gradient decays, search trials hollow and final runs filled.

    Args:
        runs: runs of one task; columns arm, phase, score, score_name and the measure.
        measure: decay_rate_init or decay_rate_early.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if there are several tasks.
    """
    refuse_several_tasks(runs)
    ax = ax or axes(7.2, 4.6)
    arms = looks(sorted(runs["arm"].unique()))
    for name, look in arms.items():
        for phase, face in (("search", "none"), ("final", look.color)):
            some = runs.loc[(runs["arm"] == name) & (runs["phase"] == phase)]
            ax.plot(
                some[measure], some["score"],
                color=look.color, marker=look.marker, markerfacecolor=face, markersize=5.5, linestyle="none", alpha=0.8,
            )  # fmt: skip
    ax.axvline(0, color=FAINT, linewidth=1)
    if spans_decades(runs["score"]):
        ax.set_yscale("log")
    title = f"Score against gradient decay, {runs['task'].iloc[0]}"
    dress(ax, title, f"{RATES[measure]} (decades per step)", str(runs["score_name"].iloc[0]))
    handles = [
        Line2D([], [], color=look.color, marker=look.marker, linestyle="none", label=name)
        for name, look in arms.items()
    ]
    handles += [
        Line2D([], [], color=INK, marker="o", markerfacecolor=face, linestyle="none", label=label)
        for face, label in (("none", "hollow: search"), (INK, "filled: fresh seeds"))
    ]
    legend_below(ax, handles, columns=3)
    return ax
