"""Laws of the ablation table: what counts, what does not, and how sure one can be."""

import math

import numpy as np
import pandas as pd
import pytest
from rows import ADDING, RECALL, run

from rnnlab.sweep.statistics import ablation_table, bootstrap_mean, scored, task_of, wilson
from rnnlab.tasks import TASKS


def draws(n: int, repeats: int) -> np.ndarray:
    return np.random.default_rng(7).normal(3.0, 2.0, size=(repeats, n))


def coverage(samples: np.ndarray, mean: float) -> float:
    generator = np.random.default_rng(11)
    intervals = [bootstrap_mean(values, generator) for values in samples]
    return float(np.mean([low <= mean <= high for _, low, high in intervals]))


def test_the_bootstrap_interval_covers_the_true_mean_as_often_as_it_says():
    repeats = 300
    # 2.5 standard errors of a fraction of 0.95 over that many repeats: 3.1 points.
    tolerance = 2.5 * math.sqrt(0.95 * 0.05 / repeats)
    assert coverage(draws(60, repeats), 3.0) == pytest.approx(0.95, abs=tolerance)


def test_three_values_are_too_few_for_the_stated_confidence():
    assert coverage(draws(3, 200), 3.0) < 0.87


def test_the_interval_shrinks_with_the_root_of_the_number_of_values():
    generator = np.random.default_rng(0)
    few, many = (bootstrap_mean(values, generator) for values in (draws(50, 1)[0], draws(5000, 1)[0]))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(10, rel=0.25)


def test_the_order_of_values_does_not_matter():
    values = draws(6, 1)[0]
    forward, backward = (bootstrap_mean(v, np.random.default_rng(0)) for v in (values, values[::-1]))
    assert forward == backward


def test_an_interval_of_one_value_is_unknown_and_of_equal_values_has_no_width():
    generator = np.random.default_rng(0)
    value, low, high = bootstrap_mean([0.25], generator)
    assert value == 0.25 and math.isnan(low) and math.isnan(high)
    assert bootstrap_mean([0.1, 0.1, 0.1], generator) == (0.1, 0.1, 0.1)
    assert all(math.isnan(x) for x in bootstrap_mean([], generator))


@pytest.mark.parametrize("values", [[0.0, 1.0], [1.0, 1.0, 9.0], [0.0, 0.0, 0.0, 1.0], [1e-9, 1e-9, 1.0]])
def test_an_interval_of_few_uneven_values_is_finite_and_holds_the_mean(values):
    mean, low, high = bootstrap_mean(values, np.random.default_rng(0))
    assert min(values) <= low <= mean <= high <= max(values)
    assert low < high


@pytest.mark.parametrize(("successes", "n"), [(0, 3), (3, 3), (2, 5), (40, 50)])
def test_wilson_agrees_with_its_closed_form(successes, n):
    z = 1.959963984540054  # the 97.5% point of the normal distribution
    p = successes / n
    centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert wilson(successes, n) == pytest.approx((p, centre - half, centre + half), abs=1e-12)


def test_a_task_comes_back_from_the_parameters_of_its_run():
    assert task_of(pd.Series(run(RECALL))) == RECALL


def test_a_diverged_run_without_score_counts_as_the_trivial_baseline():
    runs = pd.DataFrame(
        [run(seed=1, score=0.01), run(seed=2, score=0.03), run(seed=3, score=math.nan, outcome="diverged")]
    )
    row = ablation_table(runs).iloc[0]
    assert row["score"] == pytest.approx((0.01 + 0.03 + 1 / 6) / 3, rel=1e-12)
    assert (row["seeds"], row["diverged"], row["failed"]) == (3, 1, 0)


def test_a_diverged_run_keeps_a_score_of_its_own():
    runs = pd.DataFrame([run(score=7.0, outcome="diverged"), run(seed=2, score=math.inf, outcome="diverged")])
    assert scored(runs, ADDING).tolist() == [7.0, ADDING.baseline.score]


@pytest.mark.parametrize("outcome", ["failed", "running", "pruned"])
def test_a_run_that_did_not_end_has_no_score_and_is_still_counted(outcome):
    runs = pd.DataFrame([run(seed=1, score=0.02), run(seed=2, score=0.5, outcome=outcome)])
    row = ablation_table(runs).iloc[0]
    assert row["score"] == 0.02 and row["seeds"] == 1
    assert row["failed"] + row["unfinished"] == (outcome != "pruned")


def test_a_finished_run_without_score_is_a_failure_and_not_a_gap():
    row = ablation_table(pd.DataFrame([run(seed=1), run(seed=2, score=math.nan)])).iloc[0]
    assert (row["seeds"], row["failed"]) == (1, 1)


def test_search_trials_never_enter_the_result():
    final = [run(seed=seed, score=0.1 + 0.01 * seed) for seed in (1, 2, 3)]
    search = [
        run(phase="search", seed=50, score=1e-9, outcome="solved", steps_to_solve=1.0, seconds=1e6),
        run(phase="search", seed=51, score=math.nan, outcome="diverged"),
        run(phase="search", seed=52, score=math.nan, outcome="failed"),
    ]
    alone, together = (ablation_table(pd.DataFrame(rows)).iloc[0] for rows in (final, final + search))
    counts = ["search_done", "search_failed", "search_diverged"]
    pd.testing.assert_series_equal(alone.drop(counts), together.drop(counts))
    assert together[counts].tolist() == [2, 1, 1]


def test_an_arm_without_final_runs_is_shown_without_result():
    runs = pd.DataFrame([run(arm="gru"), run(arm="lstm", phase="search", score=1e-9)])
    table = ablation_table(runs)
    assert table["arm"].tolist() == ["gru", "lstm"]
    assert math.isnan(table["score"].iloc[1]) and table["seeds"].iloc[1] == 0


def test_the_table_does_not_depend_on_the_order_of_the_runs():
    generator = np.random.default_rng(3)
    rows = [
        run(task, arm, seed=seed, score=float(generator.random()), command=f"{arm} {seed}")
        for task in (ADDING, RECALL)
        for arm in ("tanh", "gru", "lstm")
        for seed in range(5)
    ]
    runs = pd.DataFrame(rows)
    pd.testing.assert_frame_equal(ablation_table(runs), ablation_table(runs.sample(frac=1, random_state=1)))


def test_a_row_does_not_depend_on_other_arms():
    rows = [run(seed=seed, score=0.1 * seed) for seed in range(4)]
    others = [run(arm="gru", seed=seed, score=0.9) for seed in range(4)]
    alone, among = ablation_table(pd.DataFrame(rows)), ablation_table(pd.DataFrame(others + rows))
    pd.testing.assert_series_equal(alone.iloc[0], among.iloc[0])


@pytest.mark.parametrize(("task", "best"), [(ADDING, "low"), (RECALL, "high")])
def test_the_best_arm_comes_first_whichever_way_the_score_counts(task, best):
    runs = pd.DataFrame([run(task, "low", score=0.1), run(task, "high", score=0.9), run(task, "none", phase="search")])
    arms = ablation_table(runs)["arm"].tolist()
    assert arms[0] == best and arms[-1] == "none"


def test_tasks_come_by_kind_and_then_by_length():
    tasks = [TASKS["adding"].parse({"length": length}) for length in (100, 30, 400)]
    table = ablation_table(pd.DataFrame([run(task) for task in (*tasks, RECALL)]))
    assert table["task"].tolist() == ["adding-30", "adding-100", "adding-400", "delayed_recall-20"]


def test_solving_is_counted_over_all_scored_runs_and_its_time_over_the_solved():
    runs = pd.DataFrame(
        [
            run(seed=1, outcome="solved", score=0.005, steps_to_solve=300.0),
            run(seed=2, outcome="solved", score=0.005, steps_to_solve=500.0),
            run(seed=3),
            run(seed=4, outcome="failed", score=math.nan),
        ]
    )
    row = ablation_table(runs).iloc[0]
    assert (row["solved"], row["seeds"], row["steps_to_solve"]) == (2, 3, 400.0)
    assert (row["solved_fraction"], row["solved_low"], row["solved_high"]) == wilson(2, 3)


def test_the_command_is_that_of_the_first_seed():
    runs = pd.DataFrame([run(seed=9), run(seed=3), run(seed=5)])
    assert ablation_table(runs)["command"].tolist() == ["rnnlab run seed=3"]
