"""Verdicts hold their error rates, agree with tests worked out by hand, and say how many seeds would do."""

import math

import numpy as np
import pytest
from scipy import stats

from rnnlab.statistics.verdicts import decide_exact, decide_level, decide_ordering, overall


def test_a_law_holds_for_every_seed_or_not_at_all():
    assert decide_exact([1.0, 1.0 + 1e-9], 1.0, 1e-8).verdict == "reproduced"
    assert decide_exact([1.0] * 99 + [1.1], 1.0, 1e-8).verdict == "contradicted"
    assert decide_exact([1.0, math.nan], 1.0, 1e-8).verdict == "contradicted"


def test_equivalence_is_two_one_sided_t_tests():
    generator = np.random.default_rng(0)
    for _ in range(200):
        values = generator.normal(generator.uniform(-1, 1), 0.6, size=5)
        t = (values.mean() - np.array([-1, 1])) / (values.std(ddof=1) / math.sqrt(5))
        p = max(stats.t.sf(t[0], 4), stats.t.cdf(t[1], 4))
        assert (decide_level(values, -1, 1).verdict == "reproduced") == (p <= 0.05)


def test_a_level_at_the_edge_is_called_reproduced_by_mistake_in_one_case_of_twenty():
    generator = np.random.default_rng(1)
    wrong = [decide_level(generator.normal(1, 0.2, size=6), -1, 1).verdict == "reproduced" for _ in range(1000)]
    assert np.mean(wrong) == pytest.approx(0.05, abs=0.028)  # four standard errors


def test_a_level_in_the_middle_is_never_called_contradicted_and_one_far_off_is():
    generator = np.random.default_rng(2)
    verdicts = {decide_level(generator.normal(0, 0.3, size=4), -1, 1).verdict for _ in range(300)}
    assert verdicts <= {"reproduced", "inconclusive"}
    assert decide_level([2.0, 2.1, 1.9], -1, 1).verdict == "contradicted"
    assert decide_level([0.0, math.nan], -1, 1).verdict == "contradicted"
    assert decide_level([0.0], -1, 1)[::2] == ("inconclusive", 2)


def test_the_seeds_that_are_said_to_do_are_just_enough():
    values = np.array([0.2, 1.4, 0.4, 1.2])  # mean 0.8, too wide for the bound 1
    found = decide_level(values, -10, 1)
    assert found.verdict == "inconclusive" and found.seeds is not None

    def half(count: int) -> float:
        return stats.t.ppf(0.95, count - 1) * values.std(ddof=1) / math.sqrt(count)

    assert half(found.seeds) <= 0.2 < half(found.seeds - 1)
    assert decide_level([1.0 - 0.5, 1.0 + 0.5], -10, 1).seeds is None  # right on the edge


def test_an_ordering_needs_five_seeds_and_says_so():
    ahead, behind = [0.1, 0.2, 0.1, 0.3], [1.0, 1.1, 1.2, 0.9]
    assert decide_ordering(ahead, behind)[::2] == ("inconclusive", 5)
    assert decide_ordering([*ahead, 0.2], [*behind, 1.0]).verdict == "reproduced"  # p = 2^-5
    assert decide_ordering([*behind, 1.0], [*ahead, 0.2]).verdict == "contradicted"
    assert decide_ordering([0.5] * 6, [0.5] * 6).verdict == "inconclusive"
    one_lost = decide_ordering([*ahead, 1.0], [*behind, 0.9])  # far ahead but for one seed: five do not do, six might
    assert one_lost.verdict == "inconclusive" and one_lost.seeds is not None and one_lost.seeds > 5


def test_an_ordering_is_the_share_of_signs_whose_mean_is_as_large():
    generator = np.random.default_rng(3)
    signs = np.array(np.meshgrid(*[[-1, 1]] * 6)).reshape(6, -1)
    for _ in range(50):
        one, two = generator.normal(0, 1, 6), generator.normal(1, 1, 6)
        p = np.mean((two - one) @ signs >= (two - one).sum() - 1e-12)
        assert (decide_ordering(one, two).verdict == "reproduced") == (p <= 0.05)


def test_a_margin_is_part_of_the_claim():
    ahead = [0.0, 0.1, 0.0, 0.1, 0.05]
    assert decide_ordering(ahead, [x + 0.5 + x / 10 for x in ahead], margin=0.4).verdict == "reproduced"
    found = decide_ordering(ahead, [x + 0.5 + x / 10 for x in ahead], margin=0.6)
    assert found.verdict == "contradicted" and found.measured.value == pytest.approx(0.505)
    assert decide_ordering(ahead, 0.2).verdict == "reproduced"


def test_a_run_that_diverged_is_ahead_of_nothing_and_behind_everything():
    good = [0.1, 0.2, 0.1, 0.3, 0.2]
    assert decide_ordering([math.nan, *good], [1.0] * 6).verdict == "contradicted"
    assert decide_ordering(good, [math.nan] * 5).verdict == "reproduced"


def test_a_claim_in_parts():
    assert overall(["reproduced", "reproduced"]) == "reproduced"
    assert overall(["reproduced", "inconclusive"]) == "inconclusive"
    assert overall(["contradicted", "inconclusive", "reproduced"]) == "contradicted"
    assert overall(["not run", "contradicted"]) == "not run"
    assert overall([]) == "not run"
