"""Laws of intervals: they hold the truth as often as they say, and agree with their closed forms."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from rnnlab.statistics import intervals
from rnnlab.statistics.intervals import (
    bootstrap_mean,
    interquartile_mean,
    mean,
    stratified_bootstrap,
    student,
    student_mean,
    wilson,
)


@pytest.fixture
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of them, where many intervals are counted: a bound at 2.5% is then one at 2.5 ± 0.5%."""
    monkeypatch.setattr(intervals, "RESAMPLES", 999)


def draws(n: int, repeats: int) -> np.ndarray:
    return np.random.default_rng(7).normal(3.0, 2.0, size=(repeats, n))


def coverage(samples: np.ndarray, mean: float) -> float:
    generator = np.random.default_rng(11)
    intervals = [bootstrap_mean(values, generator) for values in samples]
    return float(np.mean([low <= mean <= high for _, low, high in intervals]))


@pytest.mark.slow
def test_the_bootstrap_interval_covers_the_true_mean_as_often_as_it_says(fewer_resamples):
    repeats = 300
    # 2.5 standard errors of a fraction of 0.95 over that many repeats: 3.1 points.
    tolerance = 2.5 * math.sqrt(0.95 * 0.05 / repeats)
    assert coverage(draws(60, repeats), 3.0) == pytest.approx(0.95, abs=tolerance)


def test_three_values_are_too_few_for_the_stated_confidence(fewer_resamples):
    assert coverage(draws(3, 200), 3.0) < 0.87


def test_ten_normal_values_are_covered_about_nine_times_in_ten(fewer_resamples):
    samples = draws(10, 400)
    exact = [student_mean(values) for values in samples]  # covers 95%, whatever the number of values
    missed = np.mean([low <= 3.0 <= high for _, low, high in exact]) - coverage(samples, 3.0)
    assert missed == pytest.approx(0.05, abs=2.5 * math.sqrt(0.05 * 0.95 / 400))


def test_the_interval_shrinks_with_the_root_of_the_number_of_values(fewer_resamples):
    generator = np.random.default_rng(0)
    few, many = (bootstrap_mean(values, generator) for values in (draws(50, 1)[0], draws(1250, 1)[0]))
    assert (few.high - few.low) / (many.high - many.low) == pytest.approx(5, rel=0.25)


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


@pytest.mark.parametrize(("successes", "n"), [(0, 3), (3, 3), (2, 5), (40, 50)])
def test_wilson_agrees_with_scipy(successes, n):
    expected = stats.binomtest(successes, n).proportion_ci(0.95, method="wilson")
    assert wilson(successes, n) == pytest.approx((successes / n, expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_wilson_covers_a_fraction_as_often_as_it_says_summed_over_all_outcomes(p):
    n = 30
    inside = [low <= p <= high for _, low, high in (wilson(k, n) for k in range(n + 1))]
    covered = stats.binom.pmf(np.arange(n + 1), n, p)[inside].sum()
    assert 0.92 < covered < 0.99  # exact; steps of the binomial keep it from being 0.95


def test_the_interquartile_mean_is_the_mean_of_the_middle_half():
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 3.0, -7.0, 4.0, 5.0, 80.0])) == 3.5  # of 2, 3, 4, 5
    assert interquartile_mean(np.array([[1.0, 5.0, 9.0], [0.0, 0.0, 3.0]])).tolist() == [5.0, 1.0]  # three all count


def test_a_resample_draws_from_every_stratum_its_own_number_of_values():
    """With two values a stratum, every resample can be listed: the bounds are quantiles of that list."""
    strata = [np.array([0.0, 1.0]), np.array([10.0, 14.0])]
    every = [np.mean([a, b, c, d]) for a, b, c, d in itertools.product(*[strata[0]] * 2, *[strata[1]] * 2)]
    value, low, high = stratified_bootstrap(strata, mean, np.random.default_rng(0))
    assert value == pytest.approx(np.mean(every), rel=1e-12)
    assert (low, high) == (min(every), max(every))  # either is 1 of 16 resamples, more than the 2.5% beyond a bound


def test_differences_between_strata_add_no_uncertainty():
    values = draws(20, 1)[0]
    near, far = (stratified_bootstrap([values, values + shift], mean, np.random.default_rng(0)) for shift in (0.0, 1e3))
    assert far.high - far.low == pytest.approx(near.high - near.low, rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", [mean, interquartile_mean])
def test_a_stratified_interval_covers_the_truth_as_often_as_it_says(statistic, fewer_resamples):
    repeats = 200
    generator = np.random.default_rng(5)
    shifts = np.array([0.0, 3.0])
    truth = float(statistic(np.concatenate([generator.normal(size=200_000) + shift for shift in shifts])))
    hits = 0
    for _ in range(repeats):
        _, low, high = stratified_bootstrap(
            list(generator.normal(size=(2, 30)) + shifts[:, None]), statistic, generator
        )
        hits += low <= truth <= high
    # 2.5 standard errors over that many repeats, and the percentile bootstrap is somewhat narrow.
    assert hits / repeats == pytest.approx(0.94, abs=0.042)


def test_a_stratified_interval_of_single_values_is_unknown():
    value, low, high = stratified_bootstrap([np.array([1.0]), np.array([3.0])], mean, np.random.default_rng(0))
    assert value == 2.0 and math.isnan(low) and math.isnan(high)
    assert all(math.isnan(x) for x in stratified_bootstrap([], mean, np.random.default_rng(0)))


def test_intervals_of_normal_means_are_students_and_leave_out_what_is_missing():
    values = np.array([0.3, 1.2, 0.7, 0.9, -0.1])
    expected = (values.mean(), *stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values)))
    assert student_mean(values) == pytest.approx(expected, abs=1e-12)
    columns = np.stack([np.append(values, np.nan), np.full(6, np.nan), [np.nan] * 5 + [2.0]], axis=1)
    middle, half = student(columns)
    np.testing.assert_allclose(middle, [values.mean(), np.nan, 2.0])
    np.testing.assert_allclose(half, [expected[2] - expected[0], np.nan, np.nan])
