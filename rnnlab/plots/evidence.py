"""Figures that tell how sure a sweep is: when arms solve a task, which beats which, and whether decay foretells it."""

import textwrap
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rnnlab.common.errors import UserError
from rnnlab.plots.runs import dot, in_phase, not_drawn, one_task, spans_decades
from rnnlab.plots.style import FAINT, INK, axes, dress, legend_below, log_axis, looks
from rnnlab.statistics.ablation import ablation_table, comparison_table, solve_table
from rnnlab.statistics.comparisons import SIGNIFICANT

LINE = 72
"""Characters of a legend beside which nothing else stands."""
ROW = 0.19
"""Inches of one of its rows."""
BANDS = 4
"""Intervals of more curves than this would hide one another."""
RATES = {"decay_rate_init": "decay rate before training", "decay_rate_early": "decay rate early in training"}


def solve_curves(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the share of fresh runs that have solved the task against training steps, a staircase per arm.

    Shaded, where at most four arms solve it, are 95% intervals. The legend begins with the arm that ends highest.

    Args:
        runs: runs of one task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes; numbers are those of `rnnlab.statistics.ablation.solve_table`.

    Raises:
        UserError: if there is no final run, or there are several tasks.
    """
    end = in_phase(one_task(runs), "final")["param.training.steps"].to_numpy(float).max()
    table = solve_table(runs)
    ends = {str(arm): rows["solved"].to_numpy(float).max() for arm, rows in table.groupby("arm")}
    solving = sorted((arm for arm in ends if ends[arm] > 0), key=lambda arm: -ends[arm])
    ax = ax or axes(7.2, 4.4 + ROW * max(0, len(solving) - BANDS))
    drawn: dict[str, Line2D] = {}
    for name, look in looks(sorted(runs["arm"].unique())).items():
        if name not in solving:
            continue
        rows = table.loc[table["arm"] == name]
        steps = np.append(rows["step"], end)
        share, low, high = (np.append(rows[x], rows[x].iloc[-1]) for x in ("solved", "low", "high"))
        (drawn[name],) = ax.step(
            steps, share, where="post", color=look.color, linestyle=look.dashes, linewidth=1.7, label=name
        )
        if len(solving) <= BANDS:
            ax.fill_between(steps, low, high, where=share > 0, step="post", color=look.color, alpha=0.1, linewidth=0)
    ax.set_ylim(-0.03, 1.03)
    ax.set_xlim(0, end)
    ax.xaxis.set_major_formatter("{x:,.0f}")
    title = f"Runs that have solved {runs['task'].iloc[0]}"
    dress(ax, title, "training step (updates)", "share of runs")
    never = ", ".join(arm for arm in ends if arm not in solving)
    handles = [drawn[name] for name in solving]
    if never:
        handles.append(
            Line2D([], [], linestyle="none", label=textwrap.fill(f"never: {never}", LINE, break_on_hyphens=False))
        )
    legend_below(ax, handles, columns=1 if len(never) > 40 else 3)
    return ax


def win_matrix(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the chance that a fresh run of one arm beats one of another, for every two arms, the best arm first.

    A star marks a difference at the 5% level after Holm's correction for all pairs.

    Args:
        runs: runs of one task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes; numbers are those of `rnnlab.statistics.ablation.comparison_table`.

    Raises:
        UserError: if fewer than two arms have a final result, or there are several tasks.
    """
    in_phase(one_task(runs), "final")
    contests = comparison_table(runs, reference=None)
    if contests.empty:
        raise UserError("runs hold fewer than two arms with a final result: there is nothing to compare")
    return draw_wins(contests, ablation_table(runs)["arm"].tolist(), ax)


def draw_wins(contests: pd.DataFrame, order: Sequence[str], ax: Axes | None = None) -> Axes:
    """Draw comparisons that are worked out already, as `win_matrix` does.

    Args:
        contests: rows of one task from `rnnlab.statistics.ablation.comparison_table`.
        order: arms from top to bottom, of which those that met no other are left out.
        ax: where to draw.

    Returns:
        The axes.
    """
    arms = [arm for arm in order if arm in {*contests["arm"], *contests["other"]}]
    n = len(arms)
    ax = ax or axes(4.0 + 0.62 * n, 1.9 + 0.48 * n)
    place = {name: k for k, name in enumerate(arms)}
    chance = np.full((n, n), np.nan)
    for row in contests.to_dict("records"):
        i, j = place[row["arm"]], place[row["other"]]
        chance[i, j], chance[j, i] = row["probability"], 1 - row["probability"]
        star = "*" if row["p_all"] < SIGNIFICANT else ""
        for y, x in ((i, j), (j, i)):
            color = "white" if abs(chance[y, x] - 0.5) > 0.35 else INK
            ax.text(x, y, f"{chance[y, x]:.2f}{star}", ha="center", va="center", fontsize=8.5, color=color)
    ax.imshow(chance, cmap="RdBu", vmin=0, vmax=1, aspect="auto")
    ax.set_xticks(range(n), arms, rotation=40, ha="right", rotation_mode="anchor")
    ax.set_yticks(range(n), arms)
    dress(ax, "Chance that row beats column", "arm in the column", "arm in the row", grid=None)
    return ax


def health_scatter(runs: pd.DataFrame, measure: str = "decay_rate_init", ax: Axes | None = None) -> Axes:
    """Draw the score of every run against how its gradient decays, search trials hollow and final runs filled.

    The legend counts the runs that lack one of the two, as those that were pruned or diverged do.

    Args:
        runs: runs of one task; columns arm, phase, score, score_name and the measure.
        measure: decay_rate_init or decay_rate_early.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if there are several tasks.
    """
    ax = ax or axes(7.2, 4.6)
    arms = looks(sorted(one_task(runs)["arm"].unique()))
    for name, look in arms.items():
        for phase, face in (("search", "none"), ("final", look.color)):
            some = runs.loc[(runs["arm"] == name) & (runs["phase"] == phase)]
            ax.plot(
                some[measure], some["score"],
                color=look.color, marker=look.marker, markerfacecolor=face, markersize=5.5, linestyle="none", alpha=0.8,
            )  # fmt: skip
    ax.axvline(0, color=FAINT, linewidth=1)
    if spans_decades(runs["score"]):
        log_axis(ax, "y")
    title = f"Score against gradient decay, {runs['task'].iloc[0]}"
    dress(ax, title, f"{RATES[measure]} (decades per step)", str(runs["score_name"].iloc[0]))
    handles = [dot(look.color, look.marker, name) for name, look in arms.items()]
    handles += [
        Line2D([], [], color=INK, marker="o", markerfacecolor=face, linestyle="none", label=label)
        for face, label in (("none", "hollow: search"), (INK, "filled: fresh seeds"))
    ]
    legend_below(ax, [*handles, *not_drawn(runs, measure, "score")], columns=3)
    return ax
