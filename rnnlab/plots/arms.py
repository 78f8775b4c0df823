"""Figures of sweeps: what each arm scores, how that depends on the learning rate, how fast its gradient decays."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rnnlab.plots.runs import dot, in_phase, not_drawn, one_task, spans_decades
from rnnlab.plots.style import FAINT, INK, Look, axes, dress, legend_below, log_axis, looks
from rnnlab.statistics.ablation import ablation_table, search_trials

SOLVED, UNSOLVED = "#0173b2", "#d55e00"  # blue and vermilion of the colour-blind safe palette
SPREAD = 0.24  # rows
ABOVE = 1.025  # axes heights
ASIDE = 0.012
BESIDE = 1.5
"""Room left and right of all learning rates, as a factor."""
"""Decades between the marks above the axes of neighbouring arms, so that none hides another."""
SCORELESS = {"diverged": "x", "pruned": "1", "failed": "+", "running": "."}
"""Markers of search trials by the outcome that leaves no score to draw."""
RATE = "param.optimizer.lr"


def ablation_forest(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the mean score of every arm over its fresh seeds with its interval, best on top.

    Lines mark the trivial baseline and the solved criterion.

    Args:
        runs: runs of one task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes; numbers are those of `rnnlab.statistics.ablation.ablation_table`.

    Raises:
        UserError: if there is no final run, or there are several tasks.
    """
    in_phase(one_task(runs), "final")
    return draw_forest(ablation_table(runs), ax)


def draw_forest(table: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the rows that `rnnlab.statistics.ablation.ablation_table` gives for one task."""
    baseline, solved_at = float(table["baseline"].iloc[0]), float(table["solved_at"].iloc[0])
    higher = solved_at > baseline
    ranked = table.sort_values("score", ascending=higher, na_position="first", kind="stable")
    rows = ranked[["score", "low", "high"]].to_numpy(float)
    ax = ax or axes(7.2, 2.0 + 0.32 * len(ranked))
    for y, (score, low, high) in enumerate(rows):
        solved = score >= solved_at if higher else score <= solved_at
        color, marker = (SOLVED, "o") if solved else (UNSOLVED, "s")
        ax.plot([low, high], [y, y], color=color, linewidth=2, alpha=0.7)
        ax.plot([score], [y], color=color, marker=marker, markersize=6.5, linestyle="none")
        if np.isnan(score):
            ax.text(0.01, y, "no score", transform=ax.get_yaxis_transform(), color=FAINT, va="center", fontsize=9)
    lines = [
        ax.axvline(baseline, color=FAINT, linestyle=(0, (5, 2)), linewidth=1.3, label="trivial baseline"),
        ax.axvline(solved_at, color=INK, linestyle=(0, (1, 1.2)), linewidth=1.5, label="solved criterion"),
    ]
    if spans_decades([*rows.ravel(), baseline, solved_at]):
        log_axis(ax, "x")
    ax.set_yticks(range(len(ranked)), [str(arm) for arm in ranked["arm"]])
    ax.set_ylim(-0.6, len(ranked) - 0.4)
    direction = "higher is better" if higher else "lower is better"
    name = f"{table['score_name'].iloc[0]} ({direction})"
    dress(ax, f"Score by arm, {table['task'].iloc[0]}", name, "", grid="x")
    dots = [dot(SOLVED, "o", "mean reaches the criterion"), dot(UNSOLVED, "s", "mean does not")]
    legend_below(ax, [*lines, *dots], columns=2)
    return ax


def lr_sensitivity(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the score of every search trial against its learning rate, one line per arm.

    A trial on several seeds counts with their mean. Trials that leave no score to draw, because they diverged, were
    pruned, failed or still run, are marked above the axes, those of different arms slightly beside each other, and
    counted in the legend.

    Args:
        runs: runs of one task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if there is no search trial, or there are several tasks.
    """
    trials = search_trials(in_phase(one_task(runs), "search"))
    ax = ax or axes(7.2, 4.6)
    arms = looks(sorted(trials["arm"].unique()))
    scored = trials.loc[~trials["outcome"].isin(list(SCORELESS))].sort_values(RATE)
    for name, look in arms.items():
        one = scored.loc[scored["arm"] == name]
        ax.plot(
            one[RATE], one["score"],
            color=look.color, marker=look.marker, linestyle=look.dashes, markersize=5.5, linewidth=1.4, label=name,
        )  # fmt: skip
    rates = trials[RATE].to_numpy(float)  # those without a score as well
    ax.set_xlim(rates.min() / BESIDE, rates.max() * BESIDE)
    log_axis(ax, "x")
    if spans_decades(scored["score"]):
        log_axis(ax, "y")
    handles = [*ax.get_lines(), *_scoreless(ax, trials, arms)]
    dress(ax, f"Search trials, {trials['task'].iloc[0]}", "learning rate", str(trials["score_name"].iloc[0]))
    legend_below(ax, handles, columns=4)
    return ax


def _scoreless(ax: Axes, trials: pd.DataFrame, arms: Mapping[str, Look]) -> list[Line2D]:
    """Mark the trials without a score above the axes; returns what the legend says of them."""
    place = {name: k - (len(arms) - 1) / 2 for k, name in enumerate(arms)}
    handles = []
    for outcome, marker in SCORELESS.items():
        some = trials.loc[trials["outcome"] == outcome]
        if some.empty:
            continue
        beside = some[RATE] * 10 ** (ASIDE * some["arm"].map(place))
        colors = [arms[name].color for name in some["arm"]]
        above = np.full(len(some), ABOVE)
        ax.scatter(beside, above, transform=ax.get_xaxis_transform(), color=colors, marker=marker, clip_on=False)
        handles.append(dot(INK, marker, f"{len(some)} {outcome}"))
    return handles


def decay_by_arm(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the decay rate of every final run and its mean per arm, the slowest decay on top.

    The legend counts the runs whose gradient decays at no measurable rate.

    Args:
        runs: runs of one task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if there is no final run, or there are several tasks.
    """
    runs = in_phase(one_task(runs), "final")
    grouped = runs.groupby("arm")
    means = pd.DataFrame({name: grouped[name].mean() for name in ("decay_rate", "decay_rate_init")})
    means = means.sort_values("decay_rate", na_position="first")
    ax = ax or axes(7.2, 2.0 + 0.36 * len(means))
    ax.axvline(0, color=FAINT, linewidth=1)
    for y, (name, mean, start) in enumerate(means.itertuples()):
        values = runs.loc[runs["arm"] == name, "decay_rate"].to_numpy(float)
        heights = y + np.linspace(-SPREAD, SPREAD, len(values)) if len(values) > 1 else [y]
        ax.plot(values, heights, color=SOLVED, marker="o", markersize=4.5, linestyle="none", alpha=0.65)
        ax.plot([mean, mean], [y - 0.34, y + 0.34], color=INK, linewidth=2)
        ax.plot([start], [y], color="none", marker="D", markersize=6, markeredgecolor=UNSOLVED, linestyle="none")
    ax.set_yticks(range(len(means)), [str(name) for name in means.index])
    ax.set_ylim(-0.6, len(means) - 0.4)
    title = f"Gradient decay, {runs['task'].iloc[0]}"
    dress(ax, title, "decay rate (decades per step of lag; 0 keeps the norm)", "", grid="x")
    initial = Line2D(
        [], [], color="none", marker="D", markeredgecolor=UNSOLVED, linestyle="none", label="mean at initialisation"
    )
    mean_bar = Line2D(
        [], [], color=INK, marker="|", markersize=12, markeredgewidth=2, linestyle="none", label="mean after training"
    )
    seed = dot(SOLVED, "o", "one seed, after training")
    legend_below(ax, [seed, mean_bar, initial, *not_drawn(runs, "decay_rate")], columns=2)
    return ax
