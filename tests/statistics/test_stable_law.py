"""Stable laws are found again in numbers drawn from them."""

import math

import numpy as np
import pytest

from rnnlab.statistics.stable_law import fit_stable


def draw(alpha: float, count: int) -> np.ndarray:
    """Chambers, Mallows and Stuck 1976, symmetric, of scale 1."""
    random = np.random.default_rng(0)
    angle, wait = random.uniform(-np.pi / 2, np.pi / 2, count), random.exponential(size=count)
    drawn = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
    return drawn * (np.cos((1 - alpha) * angle) / wait) ** ((1 - alpha) / alpha)


@pytest.mark.parametrize("alpha", [1.0, 1.3, 1.6, 2.0])
@pytest.mark.parametrize(("centre", "scale"), [(0.0, 1.0), (1e6, 3.0), (-2.0, 1e-9)])
def test_index_and_scale_are_found_wherever_the_numbers_lie(alpha, centre, scale):
    found = fit_stable(centre + scale * draw(alpha, 50_000))
    assert found.alpha == pytest.approx(alpha, abs=0.03)
    assert found.scale == pytest.approx(scale, rel=0.03)


def test_the_normal_law_has_its_deviation_over_root_two_as_scale():
    found = fit_stable(np.random.default_rng(1).normal(0, 5.0, 50_000))
    assert found.scale == pytest.approx(5 / math.sqrt(2), rel=0.03)


def test_numbers_that_are_all_the_same_have_no_law():
    assert math.isnan(fit_stable(np.ones(100)).alpha) and math.isnan(fit_stable(np.full(3, np.nan)).alpha)
