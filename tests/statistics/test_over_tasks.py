"""Laws of arms over all tasks: one scale for every task, runs resampled within tasks."""

import math

import numpy as np
import pandas as pd
import pytest
from rows import ADDING, RECALL, run

from rnnlab.statistics.intervals import mean, stratified_bootstrap
from rnnlab.statistics.over_tasks import overall_table, progress


def test_progress_is_0_at_the_baseline_and_1_at_the_criterion_whichever_way_the_score_counts():
    for task in (ADDING, RECALL):
        start, end = task.baseline.score, task.solved_at
        scores = [start, (start + end) / 2, end, end + (end - start), start - (end - start)]
        runs = pd.DataFrame([run(task, seed=k, score=score) for k, score in enumerate(scores)])
        assert progress(runs).tolist() == pytest.approx([0, 0.5, 1, 1, 0])


def test_runs_that_diverged_or_failed_made_no_progress_and_unfinished_ones_do_not_count():
    outcomes = {"diverged": 0.0, "failed": 0.0, "running": math.nan}
    runs = pd.DataFrame([run(seed=k, score=math.nan, outcome=outcome) for k, outcome in enumerate(outcomes)])
    np.testing.assert_equal(progress(runs).to_numpy(), list(outcomes.values()))


def test_an_arm_is_averaged_over_tasks_with_its_runs_resampled_within_each():
    scores = [(ADDING, (0.16, 0.12, 0.1)), (RECALL, (0.6, 0.7, 0.9))]
    rows = [run(task, "a", seed=k, score=s) for task, some in scores for k, s in enumerate(some)]
    runs = pd.DataFrame(rows)
    (row,) = overall_table(runs).to_dict("records")
    shares = progress(runs).to_numpy()
    expected = stratified_bootstrap([shares[:3], shares[3:]], mean, np.random.default_rng(0))
    assert (row["mean"], row["mean_low"], row["mean_high"]) == expected
    assert (row["tasks"], row["runs"]) == (2, 6)


def test_only_arms_with_results_on_every_task_compare_and_the_best_comes_first():
    rows = [run(task, arm, score=task.solved_at) for task, arm in ((ADDING, "half"), (ADDING, "b"), (RECALL, "b"))]
    rows += [run(task, "a", score=task.baseline.score) for task in (ADDING, RECALL)]
    rows += [run(RECALL, "half", phase="search", score=1.0)]
    assert overall_table(pd.DataFrame(rows))["arm"].tolist() == ["b", "a"]
