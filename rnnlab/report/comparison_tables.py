"""The tables of a comparison of two sweeps as text, header first."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rnnlab.common.text import chance, interval, median, number
from rnnlab.report.tables import Cells, fraction, setting, share
from rnnlab.statistics.two_sweeps import A
from rnnlab.sweep.plan.differences import Difference


def contrast_cells(rows: pd.DataFrame) -> Cells:
    """By how much B is better than A in every arm of one task.

    Args:
        rows: of that task, from `contrast_table`.
    """
    cells = [["Arm", "Seeds", "B better by [95%]", "B beats A [95%]", "p (Holm)", "Decay, B less A [95%]"]]
    for row in rows.to_dict("records"):
        cells.append(
            [
                row["arm"],
                f"{row['runs']} shared" if row["paired"] else f"{row['other_runs']} and {row['runs']}",
                interval(row["difference"], row["difference_low"], row["difference_high"]),
                share(row["probability"], row["low"], row["high"]),
                chance(row["p_task"]),
                interval(row["decay"], row["decay_low"], row["decay_high"]),
            ]
        )
    return cells


def side_cells(rows: pd.DataFrame, runs: tuple[pd.DataFrame, pd.DataFrame], names: Sequence[str]) -> Cells:
    """What A and B come to in every arm of one task, two rows an arm.

    Args:
        rows: of that task, from `sides_table`.
        runs: of A and B.
        names: hyperparameters that are searched in either.
    """
    score = f"{rows['score_name'].iloc[0]} [95%]"
    head = ["Arm", "Sweep", *(f"Tuned {name}" for name in names), score, "Solved [95%]", "Steps to solve [95%]"]
    cells = [[*head, "Diverged", "Failed", "Decay at start", "Decay at end", "Seconds a run"]]
    for row in rows.to_dict("records"):
        final = runs[row["side"] != A].query("phase == 'final' and task == @row['task'] and arm == @row['arm']")
        cells.append(
            [
                row["arm"],
                row["side"],
                *(_tuned(final, f"param.{name}") for name in names),
                interval(row["score"], row["low"], row["high"]),
                fraction(row["solved"], row["seeds"], row["solved_low"], row["solved_high"]),
                median(row["steps_to_solve"], row["steps_low"], row["steps_high"], row["updates"]),
                str(row["diverged"]),
                str(row["failed"]),
                number(row["decay_rate_init"]),
                number(row["decay_rate"]),
                number(row["seconds"]),
            ]
        )
    return cells


def changed_cells(changed: pd.DataFrame) -> Cells:
    """Runs of one configuration that came to different results."""
    cells = [["Study", "Run", "Score in A", "Score in B", "What differs"]]
    for row in changed.to_dict("records"):
        scores = f"{row['score_a']:.10g}", f"{row['score_b']:.10g}"  # that they differ may stand in the last digits
        cells.append([f"{row['task']}/{row['arm']}", named(row), *scores, ", ".join(row["differs"])])
    return cells


def named(row: Mapping[Any, Any]) -> str:
    """A run as a reader finds it in the dashboard."""
    return f"seed {row['seed']}" if row["phase"] == "final" else f"search trial {row['trial']}, seed {row['seed']}"


def difference_cells(differences: Sequence[Difference]) -> Cells:
    """Settings that two sweeps do not share."""
    rows = [[f"`{d.name}`", f"`{d.a}`", f"`{d.b}`", d.where] for d in differences]
    return [["Setting", "A", "B", "Where"], *rows] if rows else []


def _tuned(final: pd.DataFrame, column: str) -> str:
    """The value that the search has chosen; a dash where there is none."""
    return setting(final[column].iloc[0]) if len(final) and column in final else "–"
