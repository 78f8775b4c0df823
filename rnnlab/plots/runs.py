"""What figures of sweeps share: which runs they draw, and how they mark them."""

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from rnnlab.common.errors import UserError

LOG_SPAN = 1.5
"""Decades of scores from which on a linear axis would hide the small ones."""


def one_task(runs: pd.DataFrame) -> pd.DataFrame:
    """The same runs; refuses to draw on one axis what does not compare.

    Raises:
        UserError: if there are several tasks, or no runs.
    """
    if runs.empty:
        raise UserError("runs is empty: give at least one row of rnnlab.load_sweep")
    tasks = sorted(runs["task"].unique())
    if len(tasks) > 1:
        raise UserError(
            f"runs hold the tasks {', '.join(tasks)}, whose values do not compare: "
            f"choose one, as in runs[runs.task == '{tasks[0]}']"
        )
    return runs


def in_phase(runs: pd.DataFrame, phase: str) -> pd.DataFrame:
    """The runs of one phase, `search` or `final`.

    Raises:
        UserError: if there is none.
    """
    chosen = runs.loc[runs["phase"] == phase]
    if chosen.empty:
        raise UserError(f"runs hold none of phase '{phase}': choose a sweep that has come so far")
    return chosen


def spans_decades(values: object) -> bool:
    """Whether positive values lie so far apart that they need a log axis."""
    finite = np.asarray(values, float)
    finite = finite[np.isfinite(finite)]
    return bool(finite.size and finite.min() > 0 and np.log10(finite.max() / finite.min()) > LOG_SPAN)


def not_drawn(runs: pd.DataFrame, *columns: str) -> list[Line2D]:
    """What the legend says of runs that lack a number to be drawn by; nothing where none does."""
    count = int((~np.isfinite(runs[list(columns)].to_numpy(float)).all(axis=1)).sum())
    label = f"not drawn: {count} of {len(runs)} runs, without a number"
    return [Line2D([], [], linestyle="none", label=label)] if count else []


def dot(color: str, marker: str, label: str) -> Line2D:
    """A marker for the legend."""
    return Line2D([], [], color=color, marker=marker, linestyle="none", label=label)
