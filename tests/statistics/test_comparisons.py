"""Laws of comparing arms: exact p-values, intervals that hold the truth, corrections by hand."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rnnlab.statistics import comparisons as module
from rnnlab.statistics.comparisons import (
    Contest,
    comparisons,
    holm,
    least_p,
    paired_chance,
    paired_contest,
    seeds_needed,
    unpaired_chance,
    unpaired_contest,
)
from rnnlab.statistics.intervals import wilson


def paired(one: object, other: object) -> Contest:
    return paired_contest(np.asarray(one, float), np.asarray(other, float), np.random.default_rng(0))


def unpaired(one: object, other: object) -> Contest:
    return unpaired_contest(np.asarray(one, float), np.asarray(other, float), np.random.default_rng(0))


def frame(**scores: dict[int, float]) -> tuple[pd.DataFrame, pd.Series]:
    """Final runs and what each counts with, from scores by arm and seed."""
    rows = [(arm, seed, score) for arm, by_seed in scores.items() for seed, score in by_seed.items()]
    runs = pd.DataFrame(rows, columns=["arm", "seed", "score"]).assign(task="adding-30")
    return runs, runs.loc[:, "score"]


def test_paired_runs_are_compared_on_the_same_seed_and_no_other():
    contest = paired([1.0, 2.0, 3.0, 4.0], [0.5, 1.5, 2.5, 4.5])
    assert contest.probability == wilson(3, 4) and contest.difference.value == 0.25
    # The mean of ±1/2 over four seeds is at least as far from zero unless exactly two are won: 16 - 6 of 16.
    assert contest.p == pytest.approx(10 / 16)


def test_a_permutation_test_counts_by_how_much_a_seed_is_won():
    """Four of six seeds won, each by far: the sign test alone would see two lost and nothing else."""
    one, other = np.array([5.0, 4.0, 6.0, 5.5, -0.1, -0.2]), np.zeros(6)
    signs = np.array(list(itertools.product([1, -1], repeat=6)))
    share = np.mean(np.abs(signs @ one) >= abs(one.sum()) - 1e-12)
    assert paired(one, other).p == pytest.approx(share) and share < 0.16
    assert stats.binomtest(4, 6).pvalue > 0.68


def test_many_seeds_are_permuted_at_random_and_agree_with_all_assignments(monkeypatch):
    generator = np.random.default_rng(2)
    one, other = generator.normal(0.6, size=13), generator.normal(size=13)
    exact = paired(one, other).p
    monkeypatch.setattr(module, "EXACT_SEEDS", 12)
    # 9999 draws of a share near 0.2 scatter by 0.004.
    assert paired(one, other).p == pytest.approx(exact, abs=0.016) and 0.02 < exact < 0.6


def test_ties_count_half_and_tell_nothing_about_the_difference():
    contest = paired([1.0, 1.0, 2.0, 2.0], [1.0, 1.0, 1.0, 1.0])
    assert contest.probability.value == 0.75 and contest.p == pytest.approx(0.5)  # two wins of two
    assert paired(np.ones(3), np.ones(3)) == (wilson(1.5, 3), (0, 0, 0), 1.0)


def test_winning_every_seed_has_the_least_p_value_there_is():
    for n in (2, 5, 10):
        assert paired(np.ones(n), np.zeros(n)).p == pytest.approx(2.0 ** (1 - n)) == least_p(n, 1)
    assert least_p(2, 100) == 1.0
    for tests in (1, 4, 36):
        n = seeds_needed(tests)
        assert least_p(n, tests) <= 0.05 < least_p(n - 1, tests)


def test_unpaired_runs_meet_each_other_all():
    one, other = np.array([1.0, 4.0, 4.0]), np.array([2.0, 4.0])
    won = [(a > b) + 0.5 * (a == b) for a in one for b in other]
    contest = unpaired(one, other)
    assert contest.probability.value == pytest.approx(np.mean(won))
    assert contest.difference.value == pytest.approx(0.0)
    assert contest.p == pytest.approx(stats.mannwhitneyu(one, other).pvalue)
    assert unpaired(np.ones(3), np.ones(4))[1:] == ((0, 0, 0), 1.0)


def test_swapping_the_arms_mirrors_the_contest():
    generator = np.random.default_rng(0)
    one, other = generator.normal(0.5, size=7), generator.normal(size=7)
    for contest in (paired, unpaired):
        (value, low, high), difference, p = contest(one, other)
        assert contest(other, one).difference.value == pytest.approx(-difference.value)
        assert difference.low < difference.value < difference.high
        assert contest(other, one).probability == pytest.approx((1 - value, 1 - high, 1 - low))
        assert contest(other, one).p == pytest.approx(p)


@pytest.mark.parametrize("shift", [0.0, 1.0, 2.5])
@pytest.mark.parametrize("estimate", [lambda one, other: paired_chance(one - other), unpaired_chance])
def test_the_interval_covers_the_chance_of_winning_as_often_as_it_says(estimate, shift):
    generator = np.random.default_rng(3)
    chance, repeats, n = stats.norm.cdf(shift / math.sqrt(2)), 100, 10
    hits = 0
    for _ in range(repeats):
        found = estimate(generator.normal(shift, size=n), generator.normal(size=n))
        hits += found.low <= chance <= found.high
    # 2.5 standard errors over that many repeats; of ten seeds the count of wins is coarse, which covers too often.
    assert hits / repeats >= 0.95 - 2.5 * math.sqrt(0.95 * 0.05 / repeats)


def test_holm_agrees_with_a_calculation_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04 times 4, 3, 2, 1: 0.02, 0.03, 0.06, 0.04, where none may fall below one before it.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0] and holm([0.02]) == [0.02] and holm([]) == []


def test_after_correction_false_findings_are_as_rare_as_the_level():
    generator = np.random.default_rng(4)
    families = generator.uniform(size=(2000, 8))  # p-values of eight true hypotheses
    false = np.mean([min(holm(family)) < 0.05 for family in families])
    assert false == pytest.approx(1 - (1 - 0.05 / 8) ** 8, abs=2.5 * math.sqrt(0.05 * 0.95 / 2000))


def test_every_pair_is_there_once_and_the_reference_is_the_one_to_beat():
    scores = {arm: dict.fromkeys(range(6), value) for arm, value in (("zero", 0.0), ("two", 2.0), ("one", 1.0))}
    table = comparisons(*frame(**scores), reference="one")
    pairs = {(row["arm"], row["other"]): row for row in table.to_dict("records")}
    assert set(pairs) == {("zero", "one"), ("two", "one"), ("two", "zero")}
    assert [pairs[pair]["probability"] for pair in (("zero", "one"), ("two", "one"), ("two", "zero"))] == [0, 1, 1]
    least = 2.0**-5
    assert table["p_all"].tolist() == pytest.approx([3 * least] * 3)
    against = table.set_index("arm").query("other == 'one'")["p_reference"]
    assert against.tolist() == pytest.approx([2 * least] * 2)
    assert math.isnan(pairs["two", "zero"]["p_reference"])


def test_arms_are_paired_only_where_every_run_has_its_partner():
    table = comparisons(
        *frame(a={1: 1.0, 2: 2.0, 3: 3.0}, b={3: 1.0, 2: 5.0, 1: 0.0}, c={1: 0.5, 2: 9.0}), reference=None
    )
    pairs = {(row["arm"], row["other"]): row for row in table.to_dict("records")}
    assert pairs["a", "b"]["paired"] and pairs["a", "b"]["probability"] == pytest.approx(2 / 3)
    assert not pairs["a", "c"]["paired"] and pairs["a", "c"]["probability"] == pytest.approx(3 / 6)
    assert (pairs["a", "c"]["runs"], pairs["a", "c"]["other_runs"]) == (3, 2)
    assert not comparisons(*frame(a={1: 1.0, 2: 2.0}, b={2: 1.0, 3: 2.0}), reference=None)["paired"].iloc[0]


def test_runs_that_do_not_count_do_not_play():
    runs, scores = frame(a={1: 1.0, 2: math.nan}, b={1: 0.0, 2: 5.0})
    (row,) = comparisons(runs, scores, None).to_dict("records")
    assert (row["runs"], row["other_runs"], row["paired"]) == (1, 2, False)
