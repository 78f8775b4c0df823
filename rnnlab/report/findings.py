"""What a sweep says, and what it does not: sentences made from the ablation table."""

import math
from typing import Any

import pandas as pd

from rnnlab.common.text import count, interval, listing, number
from rnnlab.statistics.comparisons import SIGNIFICANT
from rnnlab.tasks import Task

SHOWN_PAIRS = 6
WHEN = {"decay_rate_init": "Measured before training", "decay_rate_early": "Measured early in training"}


def criterion(task: Task) -> str:
    """Say when a task counts as solved."""
    return f"{task.score_name} {'≥' if task.higher_is_better else '≤'} {task.solved_at:g}"


def answer(rows: pd.DataFrame, contests: pd.DataFrame, task: Task, reference: str | None) -> str:
    """Say in one paragraph which arms solved a task, which did best, and what stays open.

    Args:
        rows: the rows of one task from `ablation_table`, best first.
        contests: the rows of that task from `comparison_table`.
        task: that task.
        reference: the arm that others are to improve on, if there is one.
    """
    scored = rows.loc[rows["seeds"] > 0]
    if scored.empty:
        return f"On **{task.label}** no final run has ended with a score."
    sentences = [_solving(scored, task), _ranking(scored, task), beating(contests, reference)]
    sentences += [_trivial(scored, task), _gradient(scored)]
    return " ".join(filter(None, sentences))


def beating(contests: pd.DataFrame, reference: str | None) -> str:
    """Say which differences between arms are more than chance, after correction for how many were looked at.

    Args:
        contests: the rows of one task from `comparison_table`.
        reference: the arm that all others are held against; without it every arm is held against every other.
    """
    family, corrected = contests.loc[contests["other"] == reference], "p_reference"
    if family.empty:
        family, corrected = contests, "p_all"
    if family.empty:
        return ""
    paired = "seed by seed" if family["paired"].to_numpy(bool).all() else "run by run"
    holm = f"at the {SIGNIFICANT:.0%} level, Holm's correction for {count(len(family), 'comparison')}"
    clear = family.loc[family[corrected] < SIGNIFICANT]
    if corrected == "p_reference":
        parts = [
            f"{verdict} {reference}: {listing(arms)}"
            for verdict, arms in (
                ("better than", clear.loc[clear["difference"] > 0, "arm"].tolist()),
                ("worse than", clear.loc[clear["difference"] < 0, "arm"].tolist()),
            )
            if arms
        ]
        verdict = "; ".join(parts) or f"no arm is shown to differ from {reference}"
    else:
        wins = [f"{r.arm} beats {r.other}" if r.difference > 0 else f"{r.other} beats {r.arm}" for r in _each(clear)]
        verdict = (
            listing(wins) if 0 < len(wins) <= SHOWN_PAIRS else f"{len(wins) or 'no'} pairs of arms are shown to differ"
        )
    return f"Compared {paired} ({holm}), {verdict}."


def health(table: pd.DataFrame) -> str:
    """Say whether gradient decay goes with the score on one task, between arms and inside them.

    Args:
        table: the rows of that task from `health_table`.
    """
    told = [row for row in _each(table) if not math.isnan(row.all)]
    if not told:
        return "Too few runs have both a score and a measured decay, or they do not differ."
    return " ".join(
        f"{WHEN[row.measure]}, over all {count(row.runs, 'run')} of {count(row.arms, 'arm')} "
        f"{_relation(row.all, row.all_low, row.all_high)}; "
        f"within arms {_relation(row.within, row.within_low, row.within_high)}."
        for row in told
    )


def _relation(value: float, low: float, high: float) -> str:
    """What a rank correlation between decay rate and score says."""
    if math.isnan(value):
        return "it cannot be told: the runs are too few, or do not differ"
    if math.isnan(low):
        return f"the rank correlation is {value:.2f}, of too few arms for an interval"
    if low <= 0 <= high:
        direction = "no relation is shown"
    else:
        direction = f"the {'slower' if low > 0 else 'faster'} the decay, the better the score"
    return f"{direction} (ρ = {value:.2f} [{low:.2f}, {high:.2f}])"


def _solving(rows: pd.DataFrame, task: Task) -> str:
    """Which arms solved the task on every seed, on some, on none."""
    every = [row.arm for row in _each(rows) if row.solved == row.seeds]
    some = [f"{row.arm} ({row.solved} of {row.seeds})" for row in _each(rows) if 0 < row.solved < row.seeds]
    none = [row.arm for row in _each(rows) if row.solved == 0]
    what = f"**{task.label}** ({criterion(task)})"
    if not every and not some:
        return f"{what} was not solved by any arm on any seed."
    named = {"on every seed": every, "on some seeds": some, "on none": none}
    parts = [f"{seeds} by {listing(arms)}" for seeds, arms in named.items() if arms]
    return f"{what} was solved {', '.join(parts)}."


def _ranking(rows: pd.DataFrame, task: Task) -> str:
    """The best mean score, and the arms whose intervals do not set them apart from it."""
    best = _each(rows)[0]
    first = [row.arm for row in _each(rows) if row.score == best.score]
    others = _each(rows)[len(first) :]
    sentence = (
        f"The best mean {task.score_name} is that of {listing(first)}: "
        f"{interval(best.score, best.low, best.high)} over {count(best.seeds, 'seed')}"
    )
    if math.isnan(best.low):
        return f"{sentence}, which gives no interval: the order of the arms may be chance."
    near = [row.arm for row in others if row.low <= best.high and best.low <= row.high]
    alone = [row.arm for row in others if math.isnan(row.low)]
    if near:
        sentence += f"; the intervals of {listing(near)} overlap with it, so their order is not settled"
    if alone:
        sentence += f"; {listing(alone)} cannot be compared, having one seed"
    return f"{sentence}."


def _trivial(rows: pd.DataFrame, task: Task) -> str:
    """The arms that the sweep does not tell from a predictor without memory."""
    baseline, sign = task.baseline.score, 1 if task.higher_is_better else -1
    stuck = []
    for row in _each(rows):
        bounds = [bound for bound in (row.low, row.high, row.score) if not math.isnan(bound)]
        if min(sign * bound for bound in bounds) <= sign * baseline:
            stuck.append(row.arm)
    return f"Not shown to beat the trivial baseline ({number(baseline)}): {listing(stuck)}." if stuck else ""


def _gradient(rows: pd.DataFrame) -> str:
    """How differently the gradient falls with lag."""
    measured = rows.loc[rows["decay_rate"].notna()].sort_values("decay_rate")
    if len(measured) < 2:
        return ""
    steep, *_, flat = _each(measured)
    return (
        f"At the end of training the gradient decays fastest with lag in {steep.arm} ({number(steep.decay_rate)} "
        f"decades a step) and least in {flat.arm} ({number(flat.decay_rate)})."
    )


def _each(rows: pd.DataFrame) -> list[Any]:
    return list(rows.itertuples(index=False))
