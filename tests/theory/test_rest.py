"""The Jacobian at rest is that of the written equations, and its powers are the profile."""

import math

import numpy as np
import torch

from rnnlab.layers.recurrent import Recurrent
from rnnlab.theory import log10_rest_profile, rest_jacobian

H = 12


def test_an_lstm_without_biases_rests_at_zero_where_its_rate_has_a_closed_form():
    net = Recurrent("lstm", 3, H, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        net.get_parameter("bias_ih_l0").zero_()[H : 2 * H] = 1.0  # the forget gate
        net.get_parameter("bias_hh_l0").zero_()
    J = rest_jacobian(net.cell, net.weights(), torch.zeros(3, dtype=torch.float64))
    W_g = net.get_parameter("weight_hh_l0").detach().numpy()[2 * H : 3 * H]
    # At rest i = o = 1/2, so that c sees itself through f and, by way of h = c / 2, through the candidate.
    rates = 1 / (1 + math.exp(-1.0)) + np.linalg.eigvals(W_g) / 4
    assert math.isclose(np.abs(np.linalg.eigvals(J)).max(), np.abs(rates).max(), rel_tol=1e-9)


def test_a_scaled_orthogonal_jacobian_gives_a_straight_line_of_its_own_slope():
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(H, H)))[0]
    profile = log10_rest_profile(0.5 * Q, slice(0, H), slice(0, H), 3000)
    np.testing.assert_allclose(profile, np.arange(3000) * math.log10(0.5), atol=1e-9)  # down to 1e-900


def test_a_profile_is_the_frobenius_norm_of_the_powers_and_ends_with_a_nilpotent_jacobian():
    rng = np.random.default_rng(1)
    J = rng.normal(size=(6, 6)) / 3
    profile = log10_rest_profile(J, slice(0, 4), slice(4, 6), 8)
    for k in range(1, 8):
        block = np.linalg.matrix_power(J, k)[:4, 4:]
        assert math.isclose(profile[k], math.log10(np.linalg.norm(block) / 2), rel_tol=1e-9)
    assert profile[0] == -math.inf  # what enters h has not reached the other state yet
    nilpotent = log10_rest_profile(np.triu(np.ones((3, 3)), 1), slice(0, 3), slice(0, 3), 5)
    assert np.isfinite(nilpotent[:3]).all() and np.isneginf(nilpotent[3:]).all()
