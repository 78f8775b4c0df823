"""Laws of the time to solve: textbook numbers, and medians that hold the truth as often as they say."""

import math

import numpy as np
import pytest
from scipy import stats

from rnnlab.statistics.intervals import wilson
from rnnlab.statistics.time_to_solve import median_steps, solve_curve

NEVER = math.nan


def test_the_curve_is_that_of_a_worked_example():
    """Weeks in remission under 6-MP, where + is censored (Freireich et al. 1963, the example of many textbooks):
    6, 6, 6, 6+, 7, 9+, 10, 10+, 11+, 13, 16, 17+, 19+, 20+, 22, 23, 25+, 32+, 32+, 34+, 35+.
    """
    solved, censored = [6, 6, 6, 7, 10, 13, 16, 22, 23], [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    curve = solve_curve(solved + [NEVER] * len(censored), [99] * len(solved) + censored)
    assert curve.steps.tolist() == [0, 6, 7, 10, 13, 16, 22, 23]
    by_hand = np.cumprod([1, 18 / 21, 16 / 17, 14 / 15, 11 / 12, 10 / 11, 6 / 7, 5 / 6])
    np.testing.assert_allclose(1 - curve.solved, by_hand, rtol=1e-12)
    assert median_steps(curve).value == 23
    # Greenwood's standard error at the last step, 0.1346 in the textbooks, is that of so many uncensored runs:
    unsolved = by_hand[-1]
    runs = unsolved * (1 - unsolved) / 0.1346**2
    assert runs == pytest.approx(13.65, abs=0.01) and runs < 21
    expected = wilson((1 - unsolved) * runs, runs)
    assert (curve.solved[-1], curve.low[-1], curve.high[-1]) == pytest.approx(expected, abs=5e-4)  # it has 4 digits


def test_the_curve_agrees_with_scipy():
    generator = np.random.default_rng(0)
    steps, limit = generator.integers(1, 30, size=(2, 40)).astype(float)
    seen = steps <= limit
    curve = solve_curve(np.where(seen, steps, NEVER), limit)
    data = stats.CensoredData.right_censored(np.minimum(steps, limit), ~seen)
    np.testing.assert_allclose(1 - curve.solved, stats.ecdf(data).sf.evaluate(curve.steps), rtol=1e-12)


def test_without_early_censoring_every_point_is_a_plain_fraction():
    curve = solve_curve([100, 200, 200, NEVER, NEVER], [500] * 5)
    expected = [wilson(solved, 5) for solved in (0, 1, 3)]
    np.testing.assert_allclose(np.array([curve.solved, curve.low, curve.high]).T, expected, rtol=1e-9, atol=1e-12)


def test_a_median_that_was_not_reached_is_unknown():
    value, low, high = median_steps(solve_curve([100, *[NEVER] * 5], [500] * 6))
    assert math.isnan(value) and low == 100 and math.isnan(high)
    assert all(math.isnan(x) for x in median_steps(solve_curve([NEVER] * 40, [500] * 40)))


def test_all_runs_at_once_have_a_median():
    assert median_steps(solve_curve([20] * 6, [300] * 6)) == (20, 20, 20)


@pytest.mark.parametrize(("n", "latest"), [(10, math.inf), (10, 1.2), (30, math.inf)])
def test_the_interval_of_the_median_covers_the_truth_as_often_as_it_says(n, latest):
    generator = np.random.default_rng(2)
    repeats = 400
    hits = 0
    for _ in range(repeats):
        steps = generator.exponential(1 / math.log(2), size=n)  # median 1
        limit = np.minimum(latest, generator.uniform(0.3, 4, size=n))
        _, low, high = median_steps(solve_curve(np.where(steps <= limit, steps, NEVER), limit))
        hits += not (low > 1 or math.isnan(low)) and not high < 1
    # 2.5 standard errors over that many repeats; few values can only be covered too often.
    assert 0.95 - 2.5 * math.sqrt(0.95 * 0.05 / repeats) <= hits / repeats <= 0.995
