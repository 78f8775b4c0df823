"""The sentences of a report: true of the table, and no bolder than it."""

import math

import pandas as pd
import pytest
from rows import ADDING, RECALL, run

from rnnlab.sweep.findings import answer
from rnnlab.sweep.statistics import ablation_table


def told(*rows, task=ADDING) -> str:
    return answer(ablation_table(pd.DataFrame(list(rows))), task)


def seeds(scores, **fields):
    return [run(seed=seed, score=score, **fields) for seed, score in enumerate(scores)]


def test_arms_are_sorted_by_whether_they_solved_the_task():
    partly = [run(arm="gru", seed=1, score=0.005, outcome="solved"), run(arm="gru", seed=2, score=0.1)]
    text = told(*seeds([0.001, 0.002], arm="lstm", outcome="solved"), *partly, *seeds([0.16, 0.17], arm="tanh"))
    assert "solved on every seed by lstm, on some by gru (1 of 2), on none by tanh." in text


def test_the_best_is_the_lowest_error_and_the_highest_accuracy():
    assert "that of low: 0.100" in told(*seeds([0.1, 0.1], arm="low"), *seeds([0.3, 0.3], arm="high"))
    text = told(*seeds([0.1, 0.1], task=RECALL, arm="low"), *seeds([0.3, 0.3], task=RECALL, arm="high"), task=RECALL)
    assert "that of high: 0.300" in text


def test_arms_whose_intervals_overlap_are_not_ranked():
    rows = [*seeds([0.10, 0.11, 0.12], arm="a"), *seeds([0.11, 0.12, 0.13], arm="b"), *seeds([0.3, 0.3], arm="c")]
    text = told(*rows)
    assert "that of a:" in text and "the intervals of b overlap with it" in text


def test_a_tie_has_two_winners():
    assert "that of a and b: 0.100" in told(*seeds([0.1, 0.1], arm="b"), *seeds([0.1, 0.1], arm="a"))


def test_one_seed_settles_nothing():
    assert "no interval: the order of the arms may be chance" in told(run(arm="a"), run(arm="b", score=0.2))


@pytest.mark.parametrize(
    ("task", "better", "worse"), [(ADDING, [0.1, 0.12], [0.12, 0.2]), (RECALL, [0.7, 0.8], [0.4, 0.8])]
)
def test_arms_that_may_have_learned_nothing_are_named(task, better, worse):
    text = told(*seeds(better, task=task, arm="better"), *seeds(worse, task=task, arm="worse"), task=task)
    assert "Not shown to beat the trivial baseline" in text and text.count("): worse.") == 1


def test_the_steepest_decay_and_the_flattest_are_named():
    rows = [run(arm=arm, decay_rate=rate) for arm, rate in (("a", -0.1), ("b", -0.5), ("c", 0.01), ("d", math.nan))]
    assert "decays fastest with lag in b (-0.500 decades a step) and least in c (0.0100)" in told(*rows)


def test_a_task_without_scores_says_so():
    assert told(run(outcome="failed", score=math.nan)) == "On **adding-30** no final run has ended with a score."
