"""Foretelling: what is true is recognised, what is noise is not, and who was left out was left out."""

from itertools import combinations, product

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import roc_auc_score

from rnnlab.statistics import foretelling
from rnnlab.statistics.foretelling import (
    OTHERS_RATE,
    OWN_RATE,
    RIDGE,
    Cases,
    baseline_table,
    foretelling_table,
    ranks_within_tasks,
)

ARMS, TASKS, SEEDS = 10, 4, 5
AUCS = ["arms", "tasks", "within"]


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound at 2.5% is then one at 2.5 ± 1.1% in place of ± 0.7%, finer than anything that is said of one here."""
    monkeypatch.setattr(foretelling, "RESAMPLES", 199)


def some_runs(seed: int = 0, arms: int = ARMS, spread: float = 1.0) -> pd.DataFrame:
    """Runs whose arms differ in skill, tasks in difficulty, and seeds in luck."""
    generator = np.random.default_rng(seed)
    skill, ease = spread * generator.normal(size=arms), 0.3 * generator.normal(size=TASKS)
    runs = pd.DataFrame(product(range(arms), range(TASKS), range(SEEDS)), columns=["a", "t", "seed"])
    ability = skill[runs["a"]] + ease[runs["t"]] + generator.normal(size=len(runs))
    noise = generator.normal(size=len(runs))
    return pd.DataFrame(
        {
            "arm": [f"arm-{a}" for a in runs["a"]],
            "task": [f"task-{t}" for t in runs["t"]],
            "solved": (ability > 0).astype(int),
            "skill": skill[runs["a"]],
            "noise": noise,
            "more_noise": generator.normal(size=len(runs)),
        }
    )


def judged(runs: pd.DataFrame, *columns: str) -> dict[str, float]:
    return foretelling_table(runs, {"m": columns}).iloc[0].to_dict()


def test_the_truth_is_foresight_in_every_setting_whatever_its_scale_and_sign():
    runs = some_runs().assign(wrong=lambda r: -1e3 * r["solved"] + 7)
    runs["by_task"] = runs["solved"] * 10.0 ** runs["task"].str[-1].astype(int)
    for column in ("solved", "wrong", "by_task"):
        row = judged(runs.assign(truth=runs[column]), "truth")
        assert [row[name] for name in AUCS] == [1, 1, 1]
        assert [row[f"{name}_low"] for name in AUCS] == [1, 1, 1]
        assert row["sign"] == (-1 if column == "wrong" else 1)


def test_noise_is_chance_on_average_and_within_its_intervals():
    rows = [judged(some_runs(seed), "noise") for seed in range(16)]
    for name in AUCS:
        assert abs(np.mean([row[name] for row in rows]) - 0.5) < 0.03, name
        assert np.mean([row[f"{name}_low"] <= 0.5 <= row[f"{name}_high"] for row in rows]) >= 0.75, name


def test_what_only_tells_arms_apart_is_worth_something_across_arms_and_nothing_within():
    row = judged(some_runs(), "skill")
    assert row["arms_low"] > 0.5 and row["tasks_low"] > 0.5
    assert (row["within"], row["within_low"], row["within_high"]) == (0.5, 0.5, 0.5)


def test_what_only_tells_seeds_apart_is_found_within_arms():
    runs = some_runs()
    luck = runs["solved"] - runs.groupby(["arm", "task"])["solved"].transform("mean")
    assert judged(runs.assign(luck=luck), "luck")["within"] == 1


def cases_of(runs: pd.DataFrame, *columns: str) -> Cases:
    return Cases(runs, np.column_stack([ranks_within_tasks(runs[c], runs["task"]) for c in columns]))


@pytest.mark.parametrize("columns", [("noise",), ("noise", "more_noise")])
def test_poisoned_labels_change_nothing_that_is_said_of_those_left_out(columns):
    """With labels the wrong way round, the same scores are wrong where they were right: of two arms, and of a task."""
    runs = some_runs(spread=0.2)
    x = np.column_stack([ranks_within_tasks(runs[c], runs["task"]) for c in columns])
    for a, b in combinations(range(ARMS), 2):
        chosen = runs["arm"].isin([f"arm-{a}", f"arm-{b}"]).to_numpy(bool)
        before, after = (_right_between(one, x, a, b) for one in (runs, _poisoned(runs, chosen)))
        assert after == pytest.approx(1 - before), (a, b)
    for task in range(TASKS):
        chosen = (runs["task"] == f"task-{task}").to_numpy(bool)
        before, after = (_right_on(one, x, task) for one in (runs, _poisoned(runs, chosen)))
        assert after == pytest.approx(1 - before), task


def _poisoned(runs: pd.DataFrame, chosen: np.ndarray) -> pd.DataFrame:
    return runs.assign(solved=np.where(chosen, 1 - runs["solved"], runs["solved"]))


def _right_between(runs: pd.DataFrame, x: np.ndarray, a: int, b: int) -> float:
    """Share of the pairs between two arms that are ranked right."""
    cases = Cases(runs, x)
    return float(cases.ranked_without_arms(np.ones(ARMS))[_between(cases, a, b)].mean())


def _right_on(runs: pd.DataFrame, x: np.ndarray, task: int) -> float:
    cases = Cases(runs, x)
    return float(cases.ranked_without_tasks(np.ones(ARMS))[cases.pair_task == task].mean())


def _between(cases: Cases, a: int, b: int) -> np.ndarray:
    one, other = cases.pair_arms
    return np.logical_or((one == a) & (other == b), (one == b) & (other == a))


def test_effects_are_those_of_a_regression_of_what_is_left():
    runs = some_runs(spread=0.2)
    x = np.column_stack([ranks_within_tasks(runs[c], runs["task"]) for c in ("noise", "more_noise")])
    cases = Cases(runs, x)
    found = cases.ranked_without_arms(np.ones(ARMS))
    for a, b in combinations(range(ARMS), 2):
        kept = (~runs["arm"].isin([f"arm-{a}", f"arm-{b}"])).to_numpy(bool)
        effects = Ridge(alpha=RIDGE).fit(x[kept], runs["solved"].to_numpy()[kept]).coef_
        between = _between(cases, a, b)
        np.testing.assert_array_equal(found[between], (cases.differences[between] @ effects > 0).astype(float))


def test_auc_is_that_of_scikit_learn():
    runs = some_runs()
    cases = cases_of(runs, "noise")
    found = cases.across((cases.differences[:, 0] > 0).astype(float), np.ones(ARMS))
    expected = np.mean([roc_auc_score(one["solved"], one["noise"]) for _, one in runs.groupby("task")])
    assert found == pytest.approx(expected, abs=1e-12)


def test_an_arm_drawn_twice_counts_twice_and_is_no_pair_with_itself():
    runs = some_runs(arms=4)
    drawn = pd.concat([runs, runs.loc[runs["arm"] == "arm-2"].assign(arm="copy")])
    one, two = (Cases(each, each[["noise"]].to_numpy()) for each in (runs, drawn))
    right, copied = ((cases.differences[:, 0] > 0).astype(float) for cases in (one, two))
    apart = ~(np.isin(two.pair_arms, (2, 4)).all(0) & (two.pair_arms[0] != two.pair_arms[1]))  # arm-2 and its copy
    shares = [copied[apart & (two.pair_task == task)].mean() for task in range(TASKS)]
    assert one.across(right, np.array([1, 1, 2, 1])) == pytest.approx(np.mean(shares), abs=1e-12)


def test_the_interval_covers_what_many_arms_would_give():
    many = cases_of(some_runs(seed=99, arms=100), "skill")
    truth = many.across(many.ranked_without_arms(np.ones(100)), np.ones(100))
    rows = [judged(some_runs(seed), "skill") for seed in range(12)]
    assert np.mean([row["arms_low"] <= truth <= row["arms_high"] for row in rows]) >= 0.8


def test_runs_without_a_measure_are_left_out_and_infinite_ones_are_the_least():
    runs = some_runs().assign(measure=lambda r: r["solved"].astype(float))
    runs.loc[runs["arm"] == "arm-3", "measure"] = np.nan
    runs["measure"] = runs["measure"].replace(0.0, -np.inf)
    row = judged(runs, "measure")
    assert (row["runs"], row["missing"], row["arms"]) == (len(runs) - TASKS * SEEDS, TASKS * SEEDS, 1)
    together = judged(runs, "measure", "noise")
    assert together["missing"] == 0


def test_an_arm_that_does_well_elsewhere_is_the_one_to_beat():
    runs = some_runs(spread=4)
    table = baseline_table(runs).set_index("predictor")
    assert table.loc[OWN_RATE, "tasks_low"] > 0.5 and np.isnan(table.loc[OWN_RATE, "arms"])
    assert table.loc[OTHERS_RATE, "tasks"] == 0.5
    gains = judged(runs.assign(truth=runs["solved"]), "truth"), judged(runs, "noise")
    assert gains[0]["gain"] == pytest.approx(1 - table.loc[OWN_RATE, "tasks"])
    assert gains[0]["gain_low"] > 0 > gains[1]["gain_high"]


def test_too_few_arms_give_no_interval_and_one_task_no_other():
    runs = some_runs(spread=0)
    few = judged(runs.assign(solved=np.where(runs["arm"].isin(["arm-0", "arm-1"]), runs["solved"], 0)), "noise")
    assert np.isnan([few["arms_low"], few["within_low"]]).all() and np.isfinite([few["arms"], few["within"]]).all()
    alone = judged(runs.loc[runs["task"] == "task-1"], "noise")
    assert np.isnan([alone["tasks"], alone["gain"]]).all() and np.isfinite(alone["arms"])
