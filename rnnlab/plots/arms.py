"""Figures of sweeps: what each arm scores, how that depends on the learning rate, how fast its gradient decays."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rnnlab.errors import UserError
from rnnlab.plots.style import FAINT, INK, axes, dress, legend_below, looks

LOG_SPAN = 1.5
"""Decades of scores from which on a linear axis would hide the small ones."""
SOLVED, UNSOLVED = "#0173b2", "#d55e00"  # blue and vermilion of the colour-blind safe palette
SPREAD = 0.24  # rows
ABOVE = 1.025  # axes heights
RATE = "param.optimizer.lr"


def ablation_forest(table: pd.DataFrame, score_name: str = "score", ax: Axes | None = None) -> Axes:
    """Draw one score with its interval per arm, best on top, beside the trivial baseline and the solved criterion.

    Args:
        table: arms of one task; columns arm, score, low, high (bounds of the interval, NaN where there is none),
            baseline, solved_at.
        score_name: names the axis.
        ax: where to draw.

    Returns:
        The axes.
    """
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
        ax.set_xscale("log")
    ax.set_yticks(range(len(ranked)), [str(arm) for arm in ranked["arm"]])
    ax.set_ylim(-0.6, len(ranked) - 0.4)
    direction = "higher is better" if higher else "lower is better"
    dress(ax, "Score by arm", f"{score_name} ({direction})", "", grid="x")
    dots = [_dot(SOLVED, "o", "mean reaches the criterion"), _dot(UNSOLVED, "s", "mean does not")]
    legend_below(ax, [*lines, *dots], columns=2)
    return ax


def lr_sensitivity(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the score of every search trial against its learning rate, one line per arm.

    Crosses above the axes, where no score can be read from them, are trials that diverged; pruned trials have no
    score and are left out.

    Args:
        runs: runs of one task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if there is no search trial, or there are several tasks.
    """
    runs = _phase(runs, "search")
    ax = ax or axes(7.2, 4.6)
    arms = looks(sorted(runs["arm"].unique()))
    for name, look in arms.items():
        one = runs.loc[runs["arm"] == name].sort_values(RATE)
        scored = one.loc[np.isfinite(one["score"]) & ~one["diverged"].astype(bool)]
        ax.plot(
            scored[RATE], scored["score"],
            color=look.color, marker=look.marker, linestyle=look.dashes, markersize=5.5, linewidth=1.4, label=name,
        )  # fmt: skip
    ax.set_xscale("log")
    if spans_decades([value for line in ax.get_lines() for value in np.asarray(line.get_ydata(), float)]):
        ax.set_yscale("log")
    handles = list(ax.get_lines())
    diverged = runs.loc[runs["diverged"].astype(bool)]
    if len(diverged):
        colors = [arms[name].color for name in diverged["arm"]]
        above = np.full(len(diverged), ABOVE)
        ax.scatter(diverged[RATE], above, transform=ax.get_xaxis_transform(), color=colors, marker="x", clip_on=False)
        handles.append(_dot(INK, "x", "diverged"))
    dress(ax, f"Search trials, {runs['task'].iloc[0]}", "learning rate", str(runs["score_name"].iloc[0]))
    legend_below(ax, handles, columns=4)
    return ax


def decay_by_arm(runs: pd.DataFrame, ax: Axes | None = None) -> Axes:
    """Draw the decay rate of every final run and its mean per arm, the slowest decay on top.

    Args:
        runs: runs of one task, from `rnnlab.load_sweep`.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if there is no final run, or there are several tasks.
    """
    runs = _phase(runs, "final")
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
    legend_below(ax, [_dot(SOLVED, "o", "one seed, after training"), mean_bar, initial], columns=2)
    return ax


def refuse_several_tasks(runs: pd.DataFrame) -> None:
    """Refuse to draw on one axis what does not compare."""
    tasks = sorted(runs["task"].unique())
    if len(tasks) > 1:
        raise UserError(
            f"runs hold the tasks {', '.join(tasks)}, whose values do not compare: "
            f"choose one, as in runs[runs.task == '{tasks[0]}']"
        )


def _phase(runs: pd.DataFrame, phase: str) -> pd.DataFrame:
    """The runs of one phase, of a single task."""
    refuse_several_tasks(runs)
    chosen = runs.loc[runs["phase"] == phase]
    if chosen.empty:
        raise UserError(f"runs hold none of phase '{phase}': choose a sweep that has come so far")
    return chosen


def spans_decades(values: object) -> bool:
    """Whether positive values lie so far apart that they need a log axis."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return bool(finite.size and finite.min() > 0 and np.log10(finite.max() / finite.min()) > LOG_SPAN)


def _dot(color: str, marker: str, label: str) -> Line2D:
    """A marker for the legend."""
    return Line2D([], [], color=color, marker=marker, linestyle="none", label=label)
