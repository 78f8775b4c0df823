"""Leak rates follow from the gate's definition."""

import math

import numpy as np
import pytest
from scipy import integrate

from rnnlab.theory import leak_from_bias, leak_from_chrono, leak_from_gates


@pytest.mark.parametrize("bias", [-3.0, 0.0, 1.0, 5.0])
def test_half_life_of_one_bias(bias):
    f = 1 / (1 + math.exp(-bias))
    leak = leak_from_bias(bias)
    assert 10**leak.slope == pytest.approx(f)
    assert f**leak.half_life == pytest.approx(0.5)


def test_a_huge_negative_bias_does_not_underflow():
    assert leak_from_bias(-2000.0).slope == pytest.approx(-2000 / math.log(10))


@pytest.mark.parametrize("longest", [3, 50, 1000])
def test_chrono_agrees_with_numerical_integration_and_with_its_own_biases(longest):
    m = longest - 1
    mean, _ = integrate.quad(lambda u: math.log10(u / (1 + u)) / (m - 1), 1, m, epsabs=1e-12)
    assert leak_from_chrono(longest).slope == pytest.approx(mean, rel=1e-8)
    biases = np.log(np.random.default_rng(0).uniform(1, m, 200_000))
    sampled = -np.log10(1 + np.exp(-biases))
    tolerance = 4 * sampled.std() / math.sqrt(len(biases))
    assert leak_from_bias(biases).slope == pytest.approx(leak_from_chrono(longest).slope, abs=tolerance)


def test_recorded_gates_are_averaged_in_log_space():
    gates = np.random.default_rng(0).uniform(0.1, 1, (7, 5, 3))
    assert 10 ** leak_from_gates(gates).slope == pytest.approx(math.prod(gates.ravel()) ** (1 / gates.size))
    padded = np.concatenate([gates.ravel(), [math.nan]])
    assert leak_from_gates(padded).slope == pytest.approx(leak_from_gates(gates).slope)
    assert leak_from_gates([1.0, 1.0]).half_life == math.inf
    assert leak_from_gates([0.5, 0.0]).slope == -math.inf
    assert leak_from_gates([0.5, 0.0]).half_life == 0
