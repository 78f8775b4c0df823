"""Two sweeps held against each other: arm by arm on fresh seeds, and run by run where configurations are the same."""

from typing import cast

import pandas as pd

from rnnlab.statistics.ablation import ablation_table, final_runs, goodness, has_result, natural, task_of
from rnnlab.statistics.comparisons import comparisons, holm

A, B = "A", "B"
RESULTS = ("outcome", "score", "loss", "steps", "steps_to_solve", "decay_rate_init", "decay_rate")
"""What a run comes to, the same for the same configuration, code and machine; how long it takes is not."""
_CONTEST = ["paired", "runs", "other_runs", "probability", "low", "high"]
_DIFFERENCE = ["difference", "difference_low", "difference_high"]


def contrast_table(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Compare every arm of one sweep with the arm of the same name in another, task by task, on fresh seeds alone.

    Runs are paired by seed where one of the two has all seeds of the other, as sweeps of one `seed` have; those that
    only one of them has are left out then. Otherwise every run of the one meets every run of the other.

    Args:
        a: runs from `rnnlab.tracking.reader.load_sweep`, in any order.
        b: runs of the other sweep, which is better where differences are above zero.

    Returns:
        One row a task and arm that both have results of: task, arm, then as in
        `rnnlab.statistics.comparisons.comparisons` paired, runs (of b), other_runs (of a), probability, low, high,
        difference, difference_low, difference_high, p; then p_task (corrected for all arms of the task), and decay,
        decay_low, decay_high (by how much the decay rate at the end of training is larger in b).
    """
    runs = final_runs(_marked(a, b))
    tables = []
    for label in sorted(_common(a, b, "task"), key=natural):
        of_task = runs.loc[runs["task"] == label]
        scores = goodness(of_task, task_of(of_task.iloc[0]))  # over both, so that a diverged run is as bad in either
        rows = [_contrast(group, scores.reindex(group.index)) for _, group in of_task.groupby("arm")]
        of_arms = pd.DataFrame([row for row in rows if row], columns=["task", "arm", *_COLUMNS])
        tables.append(of_arms.assign(p_task=holm(of_arms["p"].tolist())))
    empty = pd.DataFrame(columns=["task", "arm", *_COLUMNS, "p_task"])
    return pd.concat([table for table in tables if len(table)] or [empty], ignore_index=True)


_COLUMNS = [*_CONTEST, *_DIFFERENCE, "p", "decay", "decay_low", "decay_high"]


def _contrast(runs: pd.DataFrame, scores: pd.Series) -> list[object]:
    """The row of one arm on one task; nothing where one of the two has no result."""
    met = _meeting(runs.loc[scores.notna()])
    if set(met["side"]) != {A, B}:
        return []
    one = met.assign(arm=met["side"])
    contest = comparisons(one, scores.reindex(met.index), reference=A).iloc[0]
    decay = comparisons(one, met.loc[:, "decay_rate"].astype(float), reference=A)
    change = decay.iloc[0][_DIFFERENCE].tolist() if len(decay) else [float("nan")] * 3
    return [*met[["task", "arm"]].iloc[0], *contest[[*_CONTEST, *_DIFFERENCE, "p"]], *change]


def _meeting(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs that meet each other: those of shared seeds where one of the two has all seeds of the other."""
    seeds = {side: runs.loc[runs["side"] == side, "seed"] for side in (A, B)}
    shared = set(seeds[A]) & set(seeds[B])
    nested = len(shared) == min(len(x) for x in seeds.values()) and all(x.is_unique for x in seeds.values())
    return runs.loc[runs["seed"].isin(list(shared))] if nested and len(shared) > 1 else runs


def sides_table(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Sum up both sweeps, so that their rows and the differences between them are of the same scores.

    Args:
        a: runs from `rnnlab.tracking.reader.load_sweep`, in any order.
        b: runs of the other sweep.

    Returns:
        The columns of `rnnlab.statistics.ablation.ablation_table` and `side`, A or B; tasks in natural order, the two
        rows of an arm one after the other, of what both have.
    """
    runs = _marked(a, b)
    table = ablation_table(runs.assign(arm=runs["side"] + runs["arm"]))
    table = table.assign(side=table["arm"].str[0], arm=table["arm"].str[1:])
    tasks, arms = _common(a, b, "task"), _common(a, b, "arm")
    shared = [row for row in table.to_dict("records") if row["task"] in tasks and row["arm"] in arms]
    shared.sort(key=lambda row: (natural(row["task"]), row["arm"], row["side"]))
    return pd.DataFrame(shared, columns=table.columns)


def repeats_table(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """Find the runs that both sweeps have, by configuration, and whether they came to the same, to the last bit.

    Args:
        a: runs from `rnnlab.tracking.reader.load_sweep`, in any order.
        b: runs of the other sweep.

    Returns:
        One row a configuration that ended with a result in both, fresh seeds first: task, arm, phase, trial, seed (of
        a), score_a, score_b, differs (names out of `RESULTS`, none where the two are the same).
    """
    kept = [frame.loc[has_result(frame)].sort_values("phase", kind="stable") for frame in (a, b)]
    kept = [frame.drop_duplicates("config_hash") for frame in kept]
    both = kept[0].merge(kept[1], on="config_hash", suffixes=("_a", "_b"))
    unlike = pd.DataFrame({name: _unlike(both[f"{name}_a"], both[f"{name}_b"]) for name in RESULTS})
    table = both[["task_a", "arm_a", "phase_a", "trial_a", "seed_a", "score_a", "score_b"]]
    table = table.rename(columns=lambda name: name if name.startswith("score") else name.removesuffix("_a"))
    differs = [tuple(name for name in RESULTS if row[name]) for row in unlike.to_dict("records")]
    return table.assign(differs=differs)


def _unlike(one: pd.Series, other: pd.Series) -> pd.Series:
    """Where two values differ; not a number is like itself."""
    return cast(pd.Series, ~((one == other) | (one.isna() & other.isna())))


def _marked(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """The runs of both, with the side they belong to."""
    return pd.concat([a.assign(side=A), b.assign(side=B)], ignore_index=True)


def _common(a: pd.DataFrame, b: pd.DataFrame, column: str) -> set[str]:
    return set(a[column]) & set(b[column])
