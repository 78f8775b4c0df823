"""What is said of remedies, held against the table: which arm solves what another does not."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from rnnlab.common.text import listing
from rnnlab.statistics.comparisons import SIGNIFICANT, holm

from .cast import TASKS


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
    Saying("With gates longer dependencies are learned than by a plain network.", "lstm", "tanh"),
    Saying("The fewer gates of a GRU are no loss against an LSTM.", "gru", "lstm"),
    Saying("An LSTM needs its forget gate.", "lstm", "lstm-no-forget"),
    Saying("A forget bias spread over the expected distances beats one of 1.", "lstm-chrono", "lstm"),
    Saying("An exponential input gate with a normaliser beats that of the LSTM.", "slstm", "lstm"),
    Saying("A diagonal linear recurrence does without gates.", "lru", "tanh"),
    Saying("A diagonal linear recurrence even replaces gates.", "lru", "lstm"),
    Saying("ReLU does not saturate, so it learns longer dependencies than tanh.", "relu", "tanh"),
    Saying("Started at the identity, ReLU learns long dependencies.", "irnn", "relu"),
    Saying("An orthogonal start makes long dependencies learnable.", "orthogonal-start", "tanh"),
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
LITTLE = 0.1
"""Share of all their runs that two arms must solve for a difference between them to have room."""


def held_against(solved: pd.DataFrame) -> pd.DataFrame:
    """Hold every saying against the runs: Fisher's exact test on each task, Holm's correction over all of them.

    Args:
        solved: rows of `arms_by_task` for "solved": task, kind, length, arm, value, runs.

    Returns:
        A row for each task of each saying whose two arms were run on it: saying, text, arm, other, kind, length, won,
        runs, won_other, runs_other, and differs.
    """
    counts = solved.assign(won=(solved["value"] * solved["runs"]).round().astype(int))
    counts = counts.loc[:, ["arm", "kind", "length", "won", "runs"]]
    sayings = pd.DataFrame([{"saying": k, **vars(saying)} for k, saying in enumerate(SAYINGS)])
    others = counts.rename(columns={"arm": "other", "won": "won_other", "runs": "runs_other"})
    held = sayings.merge(counts, on="arm").merge(others, on=["other", "kind", "length"])
    held["kind"] = pd.Categorical(held["kind"], list(TASKS))
    held = held.sort_values(["saying", "kind", "length"], ignore_index=True).astype({"kind": str})
    chances = [_fisher(*row) for row in held[["won", "runs", "won_other", "runs_other"]].to_numpy(int)]
    can_differ = held["won"] + held["won_other"] > 0
    corrected = pd.Series(1.0, held.index)
    corrected[can_differ] = holm([p for p, can in zip(chances, can_differ, strict=True) if can])
    return held.assign(differs=corrected < SIGNIFICANT)


def _fisher(won: int, runs: int, other_won: int, other_runs: int) -> float:
    """Chance of shares at least as far apart if both arms solve alike."""
    return float(fisher_exact([[won, runs - won], [other_won, other_runs - other_won]])[1])  # pyright: ignore


def least_lead(runs: int, tests: int) -> int:
    """How many of its runs an arm must solve to differ from one that solves none, by the strictest step of Holm."""
    return next(won for won in range(runs + 1) if _fisher(won, runs, 0, runs) * tests < SIGNIFICANT or won == runs)


def verdict(rows: pd.DataFrame) -> str:
    """What the tasks of one saying come to, by kind of task, with the greatest length at which the arms differ."""
    lead = rows["won"] / rows["runs"] > rows["won_other"] / rows["runs_other"]
    better, worse = (_reach(rows.loc[rows["differs"] & side]) for side in (lead, ~lead))
    if better and worse:
        return f"depends: more on {listing(better)}; less on {listing(worse)}"
    if better:
        return f"holds on {listing(better)}"
    if worse:
        return f"is refuted on {listing(worse)}"
    solved = rows[["won", "won_other"]].to_numpy().sum() / rows[["runs", "runs_other"]].to_numpy().sum()
    return "cannot be told: both solve too little" if solved < LITTLE else "is not shown"


def _reach(rows: pd.DataFrame) -> list[str]:
    return [f"{str(kind).replace('_', ' ')} to {of['length'].max()}" for kind, of in rows.groupby("kind", sort=False)]


def folklore_cells(held: pd.DataFrame) -> list[list[str]]:
    """The sayings as the cells of a table, header first: how many runs each arm solves, in bold where they differ."""
    kinds = list(dict.fromkeys(held["kind"]))
    lengths = {kind: sorted(set(held.loc[held["kind"] == kind, "length"])) for kind in kinds}
    named = [f"{kind.replace('_', ' ')} {', '.join(map(str, lengths[kind]))}" for kind in kinds]
    cells = [["It is said", "Arms", *named, "Here it"]]
    for text, rows in held.groupby("text", sort=False):
        by_kind = [_counts(rows.loc[rows["kind"] == kind]) for kind in kinds]
        arms = f"{rows['arm'].iloc[0]} : {rows['other'].iloc[0]}"
        cells.append([str(text), arms, *by_kind, verdict(rows)])
    return cells


def _counts(rows: pd.DataFrame) -> str:
    """How often both arms solve a kind of task, by rising length."""
    if not rows[["won", "won_other"]].to_numpy().any():
        return "none" if len(rows) else "–"
    marks = pd.Series(np.where(rows["differs"], "**", ""), rows.index)
    return ", ".join(marks + rows["won"].astype(str) + ":" + rows["won_other"].astype(str) + marks)
