"""The decay fit is ordinary least squares."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rnnlab.gradients.decay import fit_decay


def test_it_agrees_with_scipys_regression():
    generator = np.random.default_rng(0)
    lag = np.arange(50)[::-1]
    norms = -0.03 * lag + generator.normal(0, 0.2, 50)
    expected: Any = stats.linregress(lag, norms)
    ours = fit_decay(norms, lag)
    assert ours.slope == pytest.approx(expected.slope)
    assert ours.stderr == pytest.approx(expected.stderr)
    assert ours.r2 == pytest.approx(expected.rvalue**2)
    assert ours.half_life == pytest.approx(math.log10(2) / abs(expected.slope))


def test_unmeasured_and_zero_gradients_are_left_out():
    lag = np.arange(30)[::-1]
    norms = -0.5 * lag
    norms[:10], norms[12] = np.nan, -np.inf
    assert fit_decay(norms, lag).slope == pytest.approx(-0.5)


def test_too_few_points_give_no_slope_and_a_flat_profile_never_halves():
    assert math.isnan(fit_decay(np.array([np.nan, 1.0, 2.0]), np.arange(3)).slope)
    assert fit_decay(np.zeros(10), np.arange(10)).half_life == math.inf


def test_a_bend_is_told_from_chance_and_from_what_does_not_matter():
    generator = np.random.default_rng(0)
    lag = np.arange(100)
    walks = -0.05 * lag + generator.normal(0, 0.05, (2000, 100)).cumsum(1)  # a product of independent factors
    found = [fit_decay(walk, lag).bend_p < 0.05 for walk in walks]
    assert np.mean(found) == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / 2000))
    noisy = [fit_decay(-0.05 * lag + generator.normal(0, 0.1, 100), lag).bent for _ in range(200)]
    assert not any(noisy)
    parabola = fit_decay(-0.001 * lag**2, lag)
    assert parabola.bent and parabola.bend == pytest.approx(-0.001 * 99**2 / 4)
    middle = -0.001 * 49.5**2 - (-0.001 * 99**2) / 2
    assert parabola.bend == pytest.approx(-middle)
    assert not fit_decay(-0.05 * lag - 1e-6 * lag**2, lag).bent  # significant, and 0.0025 decades


def test_a_fit_begins_where_the_last_loss_has_entered():
    lag = np.arange(30)
    norms = np.where(lag < 10, 0.0, -0.3 * (lag - 10))
    loss = np.where(lag <= 10, 0.5, 0.0)
    assert fit_decay(norms, lag, loss).slope == pytest.approx(-0.3)
    assert fit_decay(norms[::-1], lag[::-1], loss[::-1]).slope == pytest.approx(-0.3)
    assert math.isnan(fit_decay(norms, lag, np.ones(30)).slope)
