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
