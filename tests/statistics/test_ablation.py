"""Laws of the ablation table: what counts, what does not, and how sure one can be."""

import math

import numpy as np
import pandas as pd
import pytest
from rows import ADDING, RECALL, run

from rnnlab.statistics.ablation import ablation_table, comparison_table, scored, solve_table, task_of
from rnnlab.statistics.intervals import wilson
from rnnlab.tasks import TASKS


def test_a_task_comes_back_from_the_parameters_of_its_run():
    assert task_of(pd.Series(run(RECALL))) == RECALL


@pytest.mark.parametrize(("task", "poor"), [(ADDING, 5.0), (RECALL, 0.2)])
@pytest.mark.parametrize("outcome", ["diverged", "failed"])
def test_an_arm_without_scores_is_never_above_one_that_finished_however_badly(task, poor, outcome):
    """A score below the trivial baseline is still better than none."""
    broken = [run(task, "wild", seed=seed, score=math.nan, outcome=outcome) for seed in range(10)]
    tame = [run(task, "tame", seed=seed, score=poor * (1 + seed / 100)) for seed in range(10)]
    runs = pd.DataFrame([*broken, *tame])
    assert ablation_table(runs)["arm"].tolist() == ["tame", "wild"]
    (pair,) = comparison_table(runs, None).to_dict("records")
    assert pair["probability"] >= 0.95 if pair["arm"] == "tame" else pair["probability"] <= 0.05


def test_a_diverged_run_without_score_counts_as_the_trivial_baseline_where_no_other_is_worse():
    runs = pd.DataFrame(
        [run(seed=1, score=0.01), run(seed=2, score=0.03), run(seed=3, score=math.nan, outcome="diverged")]
    )
    row = ablation_table(runs).iloc[0]
    assert row["score"] == pytest.approx((0.01 + 0.03 + 1 / 6) / 3, rel=1e-12)
    assert (row["seeds"], row["diverged"], row["failed"]) == (3, 1, 0)


def test_a_diverged_run_keeps_a_score_of_its_own():
    runs = pd.DataFrame([run(score=7.0, outcome="diverged"), run(seed=2, score=math.inf, outcome="diverged")])
    assert scored(runs, ADDING).tolist() == [7.0, 7.0]


@pytest.mark.parametrize("outcome", ["running", "pruned"])
def test_a_run_that_did_not_end_has_no_score(outcome):
    runs = pd.DataFrame([run(seed=1, score=0.02), run(seed=2, score=0.5, outcome=outcome)])
    row = ablation_table(runs).iloc[0]
    assert (row["score"], row["seeds"], row["failed"]) == (0.02, 1, 0)
    assert row["unfinished"] == (outcome == "running")


@pytest.mark.parametrize("lost", [{"outcome": "failed", "score": 0.001}, {"outcome": "finished", "score": math.nan}])
def test_a_run_that_failed_counts_as_the_trivial_baseline_and_as_unsolved(lost):
    won = [run(seed=seed, score=0.005, outcome="solved", steps_to_solve=100.0) for seed in (1, 2)]
    row = ablation_table(pd.DataFrame([*won, run(seed=3, **lost)])).iloc[0]
    assert row["score"] == pytest.approx((0.005 * 2 + 1 / 6) / 3, rel=1e-12)
    assert (row["seeds"], row["solved"], row["failed"]) == (3, 2, 1)
    assert (row["solved_fraction"], row["solved_low"], row["solved_high"]) == wilson(2, 3)


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


def test_steps_to_solve_is_the_median_over_all_runs_that_count_and_not_over_the_solved_alone():
    solved = [run(seed=k, outcome="solved", steps_to_solve=100.0 * k) for k in (1, 2, 3)]
    rest = [run(seed=4), run(seed=5, outcome="failed", score=math.nan, steps=math.nan)]
    row = ablation_table(pd.DataFrame(solved + rest)).iloc[0]
    assert (row["steps_to_solve"], row["updates"]) == (300.0, 500)  # of 100, 200, 300, never, never
    row = ablation_table(pd.DataFrame(solved[:2] + rest)).iloc[0]
    assert row["steps_to_solve"] == 200.0  # half of four runs
    assert math.isnan(ablation_table(pd.DataFrame(solved[:1] + rest)).iloc[0]["steps_to_solve"])


def test_a_run_that_broke_off_early_stays_unsolved_to_the_end_of_its_budget():
    solved = [run(seed=k, outcome="solved", steps_to_solve=400.0) for k in (1, 2)]
    broken = run(seed=3, outcome="diverged", score=math.nan, steps=10.0)
    curve = solve_table(pd.DataFrame([*solved, broken]))
    assert curve["solved"].tolist() == pytest.approx([0, 2 / 3])  # 1 if the broken run had left the count at step 10


def test_the_share_of_solved_runs_ends_where_the_ablation_table_says():
    rows = [run(seed=k, outcome="solved", steps_to_solve=50.0 * (k % 4 + 1)) for k in range(6)]
    rows += [run(seed=k) for k in (7, 8, 9)] + [run(phase="search", outcome="solved", steps_to_solve=1.0)]
    runs = pd.DataFrame(rows)
    end, row = solve_table(runs).iloc[-1], ablation_table(runs).iloc[0]
    found, expected = end[["solved", "low", "high"]], row[["solved_fraction", "solved_low", "solved_high"]]
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-12)


def test_one_lucky_seed_moves_the_mean_and_not_the_interquartile_mean():
    rows = [run(seed=seed, score=score) for seed, score in enumerate((0.10, 0.11, 0.12, 0.13, 0.9))]
    row = ablation_table(pd.DataFrame(rows)).iloc[0]
    assert (
        row["iqm"] == pytest.approx(0.12, rel=1e-12) and row["iqm_low"] <= 0.12 <= row["iqm_high"] <= row["score"] * 3
    )


def test_divergence_is_a_fraction_with_its_interval():
    rows = [run(seed=seed, outcome="diverged" if seed < 2 else "finished") for seed in range(8)]
    row = ablation_table(pd.DataFrame(rows)).iloc[0]
    assert (row["diverged_fraction"], row["diverged_low"], row["diverged_high"]) == wilson(2, 8)


@pytest.mark.parametrize("task", [ADDING, RECALL])
def test_the_better_arm_wins_whichever_way_the_score_counts_and_search_trials_do_not_play(task):
    good, bad = (0.1, 0.2) if task is ADDING else (0.9, 0.8)
    rows = [run(task, arm, seed=s, score=score) for arm, score in (("a", good), ("b", bad)) for s in range(4)]
    rows += [run(task, "b", phase="search", seed=s, score=2 * good - bad) for s in range(9)]
    (contest,) = comparison_table(pd.DataFrame(rows), None).to_dict("records")
    assert (contest["arm"], contest["other"], contest["probability"], contest["runs"]) == ("a", "b", 1.0, 4)


def test_the_command_is_that_of_the_first_seed():
    runs = pd.DataFrame([run(seed=9), run(seed=3), run(seed=5)])
    assert ablation_table(runs)["command"].tolist() == ["rnnlab run seed=3"]
