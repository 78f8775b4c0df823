"""The figures of a report: which runs and training steps each of them shows, and what its caption says."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import pandas as pd
import xarray as xr
from matplotlib.axes import Axes

from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.plots import evidence
from rnnlab.plots.arms import draw_forest
from rnnlab.plots.style import axes, figure_of
from rnnlab.statistics.ablation import results, scored, solve_table
from rnnlab.statistics.arms_by_task import arms_by_task
from rnnlab.statistics.comparisons import SIGNIFICANT
from rnnlab.statistics.gradient_health import EARLY, MEASURES
from rnnlab.tasks import Task
from rnnlab.tracking.reader import load_profile

GLANCES = {
    "solved": "Share of the fresh seeds that solve each task, with Wilson's 95% bounds, by its length. The arm that "
    "solves most is on top, in the figures below as well.",
    "progress": "How far the fresh seeds get where they do not: mean progress from the trivial baseline (0) to the "
    "criterion (1), with 95% bootstrap bounds.",
    "steps_to_solve": "Updates by which half of the fresh seeds have solved the task (Kaplan-Meier, looked at after "
    "every evaluation), with 95% bounds, ∞ where the budget does not bound them; grey where half of them never do.",
    "decay_rate_init": "Slope of log10 of the gradient norm against lag before training, mean over the fresh seeds: "
    "-0.2 is a factor of ten in five steps. Grey: no slope, since a loss at every step leaves no single signal, or a "
    "dilated layer too few lags.",
    "decay_rate": "The same at the last recorded training step, which comes early in a run that stops on solving.",
}
"""What is shown of every arm on every task, and what its caption says."""
TOLD_APART = 12
"""Arms whose points can be told from each other, and whose legend leaves them room."""
PANELS = 9
"""Heat maps shown at most, three a row."""


class Figure(NamedTuple):
    """One figure of a report.

    Attributes:
        name: file name without its ending; the task is part of it.
        title: what it shows.
        caption: what to know when reading it.
        axes: one of its axes, drawn.
    """

    name: str
    title: str
    caption: str
    axes: Axes


def task_figures(
    rows: pd.DataFrame, runs: pd.DataFrame, contests: pd.DataFrame, task: Task, uri: str
) -> Iterator[Figure]:
    """Draw the figures of one task, leaving out those there is nothing to draw of.

    Args:
        rows: rows of the task from `ablation_table`, best first.
        runs: runs of the task from `rnnlab.tracking.reader.load_sweep`, with the column decay_rate_early.
        contests: rows of the task from `comparison_table`.
        task: that task.
        uri: where profiles are read from.

    Yields:
        Figures, the most telling first.
    """
    yield Figure(
        f"forest-{task.label}",
        f"{task.score_name} by arm",
        "Means over the fresh seeds with 95% bootstrap intervals; lines mark the trivial baseline and the criterion.",
        draw_forest(rows),
    )
    yield from _solving(runs, task)
    yield from _wins(rows, contests, task)
    profiles = first_profiles(rows, runs, uri)
    if profiles:
        yield from _lags(profiles, task)
        yield _decay(runs, task)
        yield from _health(runs, task)
        yield _heatmaps(profiles, task)
    if "search" in set(runs["phase"]):
        yield Figure(
            f"learning-rate-{task.label}",
            "Learning-rate sensitivity",
            "Every search trial, by the mean over its seeds, or marked above where it has no score; these trials chose "
            "the learning rate and are no results. Where more than the learning rate is searched, neighbouring trials "
            "differ in that too.",
            plots.lr_sensitivity(runs),
        )


def glance_figures(runs: pd.DataFrame) -> Iterator[Figure]:
    """Draw every arm on every task of a sweep of several.

    Args:
        runs: all of its runs.

    Yields:
        Figures, the most telling first.
    """
    for quantity, caption in GLANCES.items():
        if arms_by_task(runs, quantity)["value"].isna().to_numpy().all():
            continue  # such as updates to solve where nothing is solved
        yield Figure(f"matrix-{quantity}", caption, caption, plots.arms_matrix(runs, quantity))


def first_profiles(rows: pd.DataFrame, runs: pd.DataFrame, uri: str | None = None) -> dict[str, xr.Dataset]:
    """Read the gradient profile of one final run of each arm: the first seed, of those that did not diverge if any.

    Args:
        rows: rows of one task from `ablation_table`.
        runs: runs of that task.
        uri: the store; the one in use if not given.

    Returns:
        Profile by arm, in the order of `rows`; without the arms that recorded none.
    """
    ended = results(runs)
    recorded = ended.loc[ended["param.recording.points"] > 0]
    first = recorded.sort_values(["diverged", "seed", "run_id"]).drop_duplicates("arm").set_index("arm")["run_id"]
    return {arm: load_profile(first[arm], uri) for arm in rows["arm"] if arm in first.index}


def compare_at(profiles: Mapping[str, xr.Dataset], train_step: int) -> Axes:
    """Draw norm against lag of all arms at the same training step.

    Args:
        profiles: gradient profile by arm.
        train_step: a training step that all of them have recorded.

    Returns:
        The axes.
    """
    by_name = sorted(profiles.items())  # so that an arm has the colour it has in the other figures
    one_step = {arm: profile.isel(step=profile["train_step"].values == train_step) for arm, profile in by_name}
    ax = plots.compare_lags(one_step)
    ax.set_title(f"Total gradient norm at training step {train_step:,}", loc="left", fontsize=11, pad=10)
    return ax


def shared_steps(profiles: Mapping[str, xr.Dataset]) -> list[int]:
    """The training steps that all profiles have recorded, in order.

    Raises:
        UserError: if there is no profile.
    """
    if not profiles:
        raise UserError("no arm has recorded gradients: choose a sweep with recording.points above 0")
    recorded = [set(profile["train_step"].values.tolist()) for profile in profiles.values()]
    return sorted(set.intersection(*recorded))


def _solving(runs: pd.DataFrame, task: Task) -> Iterator[Figure]:
    """When the arms solve the task, if any run does."""
    if (solve_table(runs)["solved"] > 0).to_numpy().any():
        yield Figure(
            f"solve-{task.label}",
            "Share of runs that have solved the task, over training",
            "Kaplan-Meier estimate over the fresh seeds; runs that diverged or failed stay unsolved to the end. "
            f"Shaded, where at most {evidence.BANDS} arms solve it: 95% intervals.",
            plots.solve_curves(runs),
        )


def _wins(rows: pd.DataFrame, contests: pd.DataFrame, task: Task) -> Iterator[Figure]:
    """Which arm beats which, where there are more than two."""
    if len({*contests["arm"], *contests["other"]}) > 2:
        yield Figure(
            f"wins-{task.label}",
            "Chance that one arm beats another",
            f"Over the fresh seeds, ties counting half; a star marks a difference at the {SIGNIFICANT:.0%} level after "
            f"Holm's correction for all {len(contests)} pairs.",
            evidence.draw_wins(contests, rows["arm"].tolist()),
        )


def _health(runs: pd.DataFrame, task: Task) -> Iterator[Figure]:
    """Score against gradient decay of every run, before training and early in it."""
    counted = runs.assign(score=scored(runs, task)).dropna(subset="score")
    measured = [name for name in MEASURES if counted[name].notna().to_numpy().any()]
    if not measured or len(set(runs["arm"])) > TOLD_APART:
        return
    canvas = figure_of(axes(max(7.2, 4.6 * len(measured)), 4.4))
    canvas.clear()
    panels = canvas.subplots(1, len(measured), sharey=True, squeeze=False).ravel()
    for ax, name in zip(panels, measured, strict=True):
        plots.health_scatter(counted, name, ax)
        ax.set_title("", loc="left")
    for ax in panels[1:]:
        ax.set_ylabel("")
        ax.get_legend().remove()
    canvas.suptitle("Score against gradient decay", x=0.01, ha="left", fontsize=11)
    yield Figure(
        f"health-{task.label}",
        "Score against gradient decay",
        "Every run with a score: search trials hollow, fresh seeds filled. "
        f"Early is the last recording within the first {EARLY:.0%} of the updates.",
        panels[0],
    )


def _lags(profiles: dict[str, xr.Dataset], task: Task) -> Iterator[Figure]:
    """Norm against lag of all arms before training, and at the last training step that all of them reached."""
    steps = shared_steps(profiles)
    for when, step in dict(zip(("start", "late"), dict.fromkeys((*steps[:1], *steps[-1:])), strict=False)).items():
        why = "before the first update" if step == 0 else "the last recorded step that every arm reached"
        yield Figure(
            f"lag-{when}-{task.label}",
            f"Gradient norm against lag at training step {step:,}",
            f"One fresh seed an arm, {why}; the flatter, the further back the error signal reaches.",
            compare_at(profiles, step),
        )


def _decay(runs: pd.DataFrame, task: Task) -> Figure:
    return Figure(
        f"decay-{task.label}",
        "Gradient decay by arm",
        "Slope of log10 norm against lag in every fresh run, at its last recorded training step and at its first.",
        plots.decay_by_arm(runs),
    )


def _heatmaps(profiles: dict[str, xr.Dataset], task: Task) -> Figure:
    """Gradient norm over time and training of several arms, in the same colours."""
    shown = dict(list(profiles.items())[:PANELS])
    drawn = plots.heatmaps(shown)
    low, high = drawn[0].images[0].get_clim()
    rest = f" The {PANELS} best arms of {len(profiles)}." if len(profiles) > PANELS else ""
    return Figure(
        f"heatmaps-{task.label}",
        "Gradient norm over time and training",
        f"One fresh seed an arm, best arm first, colours alike in all panels (log10 from {low:g} to {high:g}; "
        f"what lies outside takes the end colour).{rest}",
        drawn[0],
    )
