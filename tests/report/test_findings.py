"""The sentences of a report: true of the table, and no bolder than it."""

import math

import pandas as pd
import pytest
from rows import ADDING, RECALL, run

from rnnlab.report.findings import answer, beating, health
from rnnlab.statistics.ablation import ablation_table, comparison_table


def told(*rows, task=ADDING, reference=None) -> str:
    runs = pd.DataFrame(list(rows))
    return answer(ablation_table(runs), comparison_table(runs, reference), task, reference)


def seeds(scores, **fields):
    return [run(seed=seed, score=score, **fields) for seed, score in enumerate(scores)]


def test_arms_are_sorted_by_whether_they_solved_the_task():
    partly = [run(arm="gru", seed=1, score=0.005, outcome="solved"), run(arm="gru", seed=2, score=0.1)]
    text = told(*seeds([0.001, 0.002], arm="lstm", outcome="solved"), *partly, *seeds([0.16, 0.17], arm="tanh"))
    assert "solved on every seed by lstm, on some seeds by gru (1 of 2), on none by tanh." in text
    text = told(*partly, *seeds([0.16, 0.17], arm="tanh"))
    assert "was solved on some seeds by gru (1 of 2), on none by tanh." in text
    assert "was not solved by any arm on any seed." in told(*seeds([0.16, 0.17], arm="tanh"))


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


@pytest.mark.parametrize("task", [ADDING, RECALL])
def test_arms_are_held_against_the_plain_arm_in_the_right_direction(task):
    sign = 1 if task.higher_is_better else -1
    steps = {"better": 0.1, "plain": 0.0, "worse": -0.1}
    rows = [
        r for arm, by in steps.items() for r in seeds([0.5 + sign * by + k / 1e3 for k in range(8)], arm=arm, task=task)
    ]
    text = told(*rows, task=task, reference="plain")
    assert "seed by seed (at the 5% level, Holm's correction for 2 comparisons)" in text
    assert "better than plain: better; worse than plain: worse." in text


def test_a_difference_that_correction_takes_away_is_not_told():
    rows = [r for arm in "abcd" for r in seeds([0.1 if arm == "a" else 0.2] * 6, arm=arm)]
    assert "better than d: a." in told(*rows[:6], *rows[-6:], reference="d")  # p = 1/32
    assert "no arm is shown to differ from d" in told(*rows, reference="d")  # p = 3/32


def test_without_a_plain_arm_every_pair_is_compared():
    rows = [r for arm, score in (("a", 0.1), ("b", 0.2), ("c", 0.2)) for r in seeds([score] * 9, arm=arm)]
    assert "Holm's correction for 3 comparisons), a beats b and a beats c." in told(*rows)


def test_arms_of_other_seeds_are_compared_run_by_run():
    rows = [*seeds([0.1, 0.1], arm="a"), run(arm="b", seed=50, score=0.2)]
    assert "Compared run by run" in told(*rows)


def test_one_arm_has_nobody_to_beat():
    assert beating(comparison_table(pd.DataFrame(seeds([0.1, 0.2])), None), None) == ""


def test_a_relation_is_told_only_where_the_interval_says_which_way_it_goes():
    columns = ["measure", "runs", "arms", "all", "all_low", "all_high", "within", "within_low", "within_high"]
    rows = [
        ["decay_rate_init", 90, 9, 0.5, 0.2, 0.7, 0.1, -0.2, 0.4],
        ["decay_rate_early", 1, 3, -0.5, math.nan, math.nan, -0.6, -0.8, -0.3],
    ]
    assert health(pd.DataFrame(rows, columns=columns)) == (
        "Measured before training, over all 90 runs of 9 arms the slower the decay, the better the score "
        "(ρ = 0.50 [0.20, 0.70]); within arms no relation is shown (ρ = 0.10 [-0.20, 0.40]). "
        "Measured early in training, over all 1 run of 3 arms the rank correlation is -0.50, of too few arms for an "
        "interval; within arms the faster the decay, the better the score (ρ = -0.60 [-0.80, -0.30])."
    )
    unknown = pd.DataFrame([["decay_rate_init", 0, 0, *[math.nan] * 6]], columns=columns)
    assert "Too few runs" in health(unknown)


def test_a_task_without_scores_says_so():
    assert told(run(outcome="running", score=math.nan)) == "On **adding-30** no final run has ended with a score."
