"""Every arm on every task, counted by hand; an arm reaches as far as half of its seeds do."""

import math

import pandas as pd
from rows import run

from rnnlab.statistics.arms_by_task import arms_by_task, reach_table
from rnnlab.statistics.intervals import wilson
from rnnlab.statistics.over_tasks import progress


def fresh(arm: str, kind: str, length: int, outcomes: list[str], **fields) -> list[dict]:
    return [
        {**run(arm=arm, seed=k, outcome=outcome, **fields), "task": f"{kind}-{length}", "length": length,
         "param.task.kind": kind, "run_id": f"{arm}{kind}{length}{k}", "solved": outcome == "solved",
         "steps_to_solve": 5.0 * (k + 1) if outcome == "solved" else math.nan}
        for k, outcome in enumerate(outcomes)
    ]  # fmt: skip


def frame(*groups: list[dict]) -> pd.DataFrame:
    return pd.DataFrame([row for group in groups for row in group])


def test_fresh_runs_that_ended_are_counted_and_failed_ones_do_not_solve():
    runs = frame(
        fresh("a", "adding", 100, ["solved", "finished", "failed", "running"]),
        fresh("a", "adding", 20, ["solved"] * 3),
        fresh("b", "adding", 20, ["diverged"]),
        fresh("b", "adding", 20, ["solved"], phase="search"),
    )
    table = arms_by_task(runs)
    assert table[["task", "arm", "runs"]].to_numpy().tolist() == [
        ["adding-20", "a", 3], ["adding-20", "b", 1], ["adding-100", "a", 3],
    ]  # fmt: skip
    assert [tuple(row) for row in table[["value", "low", "high"]].to_numpy()] == [
        wilson(3, 3),
        wilson(0, 1),
        wilson(1, 3),
    ]


def test_updates_to_solve_are_those_by_which_half_have_and_none_where_half_do_not():
    runs = frame(fresh("a", "adding", 20, ["solved"] * 3), fresh("b", "adding", 20, ["solved", "finished", "finished"]))
    assert arms_by_task(runs, "steps_to_solve")["value"].fillna(-1).tolist() == [10, -1]


def test_decay_is_the_mean_over_fresh_seeds():
    runs = frame(
        *(fresh("a", "adding", 20, ["finished"], decay_rate=rate, decay_rate_init=-rate) for rate in (-0.1, -0.3))
    )
    for quantity, expected in (("decay_rate", -0.2), ("decay_rate_init", 0.2)):
        (value,) = arms_by_task(runs, quantity)["value"]
        assert math.isclose(value, expected)


def test_progress_is_that_of_each_run_between_baseline_and_criterion_averaged():
    runs = frame(fresh("a", "adding", 30, ["finished"] * 3), fresh("b", "adding", 30, ["finished"] * 2))
    runs["score"] = [1 / 6, 0.1, 0.0, 0.01, 1.0]
    table = arms_by_task(runs, "progress").set_index("arm")
    shares = progress(runs)
    for arm, rows in runs.groupby("arm"):
        assert math.isclose(table.loc[arm, "value"], shares[rows.index].mean())
    low, value, high = table[["low", "value", "high"]].to_numpy(float).T
    assert (low <= value).all() and (value <= high).all()


def test_an_arm_reaches_the_length_before_the_first_that_half_of_its_seeds_miss():
    half, less = ["solved", "finished"], ["solved", "finished", "finished"]
    runs = frame(
        fresh("near", "adding", 25, half), fresh("near", "adding", 50, less), fresh("near", "adding", 100, half),
        fresh("far", "adding", 25, half), fresh("far", "adding", 50, half), fresh("far", "adding", 100, half),
        fresh("far", "copying", 25, less),
    )  # fmt: skip
    table = reach_table(runs).set_index("arm")
    assert table.index.tolist() == ["far", "near"] and table["solved"].tolist() == [4, 3]
    assert table["adding"].tolist() == [100, 25] and table.loc["far", "copying"] == 0
