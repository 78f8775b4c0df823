"""Norms over the whole range of floating point."""

import math

import numpy as np
import pytest
import torch

from rnnlab.gradients.norms import log10_norm, over_examples


@pytest.mark.parametrize("exponent", [-40, -37, -25, -20, 0, 18, 30, 37])
def test_norms_whose_squares_are_no_float32(exponent):
    gradient = torch.full((2, 3, 16), 2.0, dtype=torch.float64) * 10.0**exponent
    expected = math.log10(8.0) + exponent
    assert log10_norm(gradient).numpy() == pytest.approx(expected, abs=1e-12)
    # Denormal float32 (1e-40) carries fewer digits.
    assert log10_norm(gradient.float()).numpy() == pytest.approx(expected, abs=1e-3 if exponent < -38 else 1e-6)


def test_zero_overflow_and_missing():
    logs = log10_norm(torch.tensor([[0.0, 0.0], [math.inf, 1.0], [math.nan, 1.0]]))
    assert logs[0] == -math.inf and logs[1] == math.inf and torch.isnan(logs[2])


def test_aggregates_by_a_plain_loop():
    logs = torch.tensor([[1.0, -math.inf, 3.0], [-math.inf] * 3, [math.nan] * 3], dtype=torch.float64)
    norms = over_examples(logs)
    np.testing.assert_equal(norms.mean, [2.0, -np.inf, np.nan])
    np.testing.assert_equal(norms.low, [1.0, -np.inf, np.nan])
    np.testing.assert_equal(norms.high, [3.0, -np.inf, np.nan])
    np.testing.assert_allclose(norms.zero_fraction, [1 / 3, 1.0, np.nan])
