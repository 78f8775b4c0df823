"""What is said of remedies, held against the table: which arm solves what another does not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from rnnlab.common.text import listing
from rnnlab.statistics.comparisons import SIGNIFICANT, holm


@dataclass(frozen=True)
class Saying:
    """A sentence that one hears, as a comparison of two arms.

    Attributes:
        text: as it is usually told.
        arm: should solve more.
        other: should solve less.
    """

    text: str
    arm: str
    other: str


SAYINGS = (
    Saying("Gates carry the gradient further than a plain network.", "lstm", "tanh"),
    Saying("The fewer gates of a GRU do as well.", "gru", "tanh"),
    Saying("An LSTM needs its forget gate.", "lstm", "lstm-no-forget"),
    Saying("A forget bias spread over the expected distances beats one of 1.", "lstm-chrono", "lstm"),
    Saying("Exponential gates beat those of the LSTM.", "slstm", "lstm"),
    Saying("A diagonal linear recurrence does without gates.", "lru", "tanh"),
    Saying("A diagonal linear recurrence even replaces gates.", "lru", "lstm"),
    Saying("ReLU does not saturate, so its gradient does not vanish.", "relu", "tanh"),
    Saying("Started at the identity, ReLU learns long dependencies.", "irnn", "tanh"),
    Saying("An orthogonal start keeps the gradient long enough.", "orthogonal-start", "tanh"),
    Saying("A matrix that stays orthogonal is better than one that starts so.", "orthogonal-cell", "orthogonal-start"),
    Saying("Batch norm helps a recurrent network over distances.", "batch-norm", "tanh"),
    Saying("Layer norm helps it over distances.", "layer-norm", "tanh"),
    Saying("Residual connections through time bridge distances.", "residual", "tanh"),
    Saying("Skip connections of ten steps bridge distances.", "skip", "tanh"),
    Saying("Stacked dilations bridge distances.", "dilated", "tanh"),
    Saying("Clipping makes long dependencies learnable.", "clip", "tanh"),
    Saying("Holding the norm of the gradient (Ω) adds to clipping.", "omega", "clip"),
    Saying("Lyapunov exponents set to zero before training help (flossing).", "flossing", "tanh"),
    Saying("What truncation cuts off is not learnt (25 steps).", "tanh", "truncated-25"),
    Saying("What truncation cuts off is not learnt (10 steps).", "tanh", "truncated-10"),
)
"""Written down when the results up to 100 steps were known and those of 200 were not."""


def held_against(solved: pd.DataFrame) -> pd.DataFrame:
    """Hold every saying against the runs: Fisher's exact test on each task, Holm's correction over the tasks of one.

    Args:
        solved: rows of `arms_by_task` for "solved": task, arm, value, runs.

    Returns:
        A row a saying whose two arms were run: text, arm, other, solved, other_solved, runs (over the tasks of both),
        better, worse (lists of tasks), undecided (tasks that neither arm ever solves), verdict.
    """
    won = (solved["value"] * solved["runs"]).round().astype(int)
    counts = solved.assign(won=won).set_index("task")
    by_arm = {str(arm): rows.loc[:, ["won", "runs"]] for arm, rows in counts.groupby("arm")}
    known = [saying for saying in SAYINGS if {saying.arm, saying.other} <= by_arm.keys()]
    return pd.DataFrame([_judge(saying, by_arm[saying.arm], by_arm[saying.other]) for saying in known])


def _judge(saying: Saying, arm: pd.DataFrame, other: pd.DataFrame) -> dict[str, object]:
    both = arm.merge(other, on="task", suffixes=("", "_other"))
    won, runs, other_won, other_runs = both.to_numpy(int).T
    differs = np.array(holm([_fisher(*counts) for counts in both.to_numpy(int)])) < SIGNIFICANT
    lead = won / runs - other_won / other_runs
    better, worse = ([str(task) for task in both.index[differs & side]] for side in (lead > 0, lead < 0))
    counts = {"solved": won.sum(), "other_solved": other_won.sum(), "runs": runs.sum()}
    undecided = int((won + other_won == 0).sum())
    verdict = _verdict(better, worse)
    return {**vars(saying), **counts, "better": better, "worse": worse, "undecided": undecided, "verdict": verdict}


def _fisher(won: int, runs: int, other_won: int, other_runs: int) -> float:
    """Chance of shares at least as far apart if both arms solve alike."""
    return float(fisher_exact([[won, runs - won], [other_won, other_runs - other_won]])[1])  # pyright: ignore


def _verdict(better: list[str], worse: list[str]) -> str:
    if better and worse:
        return "depends on the task"
    longest = max((int(task.split("-")[-1]) for task in better or worse), default=0)
    return f"holds, up to {longest}" if better else f"is the opposite, up to {longest}" if worse else "is not shown"


def folklore_cells(held: pd.DataFrame) -> list[list[str]]:
    """The sayings as the cells of a table, header first."""
    cells = [["It is said", "Solves, against", "More on", "Less on", "Neither solves", "Here it"]]
    for row in held.to_dict("records"):
        counts = f"{row['arm']} {row['solved']}, {row['other']} {row['other_solved']} of {row['runs']}"
        tasks = [listing(row[side]) or "–" for side in ("better", "worse")]
        cells.append([row["text"], counts, *tasks, f"{row['undecided']} tasks", row["verdict"]])
    return cells
