"""Lyapunov exponents against closed forms, volumes, eigenvalues, and the slope of the gradient profile."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from jacobians import B, T, layer, linear, orthogonal, sequence, slow_jacobians, traced
from torch.nn.utils.rnn import pack_sequence

from rnnlab.gradients.decay import fit_decay
from rnnlab.gradients.norms import log10_norm
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.lyapunov import lyapunov
from rnnlab.probes.tape import trace


def test_a_diagonal_recurrence_has_its_entries_as_exponents():
    entries = torch.tensor([0.5, -1e-9, 2.0, 0.9], dtype=torch.float64)
    found = lyapunov(linear(entries.diag(), 500))["lyapunov_exponent"].sel(example=0)
    np.testing.assert_allclose(found, entries.abs().sort(descending=True).values.log10(), rtol=1e-12)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-13), (torch.float32, 1e-6)])
def test_a_scaled_orthogonal_recurrence_has_one_exponent(dtype, error):
    found = lyapunov(linear((0.3 * orthogonal(4)).to(dtype), 500))["lyapunov_exponent"]
    np.testing.assert_allclose(found, math.log10(0.3), atol=error)  # weights rounded to `dtype` are off by that much


def test_a_linear_recurrence_has_the_logarithms_of_its_eigenvalues_in_the_long_run():
    eigenvalues = torch.tensor([1.1, 0.7, 0.2], dtype=torch.float64)
    basis = torch.tensor([[1.0, 2, 0], [0, 1, 1], [1, 0, 1]], dtype=torch.float64)
    matrix = basis @ eigenvalues.diag() @ basis.inverse()
    errors = []
    for steps in (100, 1000):
        found = lyapunov(linear(matrix, steps))["lyapunov_exponent"].values[0]
        errors.append(abs(found - eigenvalues.log10().numpy()).max())
    assert errors[0] < 0.02
    assert errors[1] == pytest.approx(errors[0] / 10, rel=1e-3)  # only the start is left, and counts as 1/T


@pytest.mark.parametrize("dilation", [1, 2])
def test_exponents_of_short_sequences_against_a_plain_loop(dilation):
    net, x = layer("lstm", dilation=dilation), sequence()
    found = lyapunov(traced(net, x))["lyapunov_exponent"]
    for b in range(B):
        steps, total = slow_jacobians(net, x[:, b : b + 1]), 0
        for chain in range(dilation):
            Q = torch.eye(len(steps[0]), dtype=torch.float64)
            for J in steps[chain::dilation]:
                Q, R = torch.linalg.qr(J @ Q)
                total = total + R.diag().abs().log10()
        expected = (total / T / dilation).sort(descending=True).values
        np.testing.assert_allclose(found.sel(example=b), expected, rtol=1e-8)


@pytest.mark.parametrize("options", [{}, {"dilation": 2}, {"norm": "batch"}], ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_exponents_add_up_to_the_shrinking_of_volumes(kind, options):
    net, x = layer(kind, **options).eval(), sequence()
    found = lyapunov(traced(net, x))["lyapunov_exponent"]
    for b in range(B):
        volumes = [float(torch.linalg.det(J).abs().log10()) for J in slow_jacobians(net, x[:, b : b + 1])]
        expected = sum(volumes) / T / options.get("dilation", 1)  # in time, a dilated step is that much longer
        assert float(found.sel(example=b).sum()) == pytest.approx(expected, rel=1e-9)


def test_padded_examples_count_their_own_steps():
    net, lengths = layer("gru"), (3, T, 1)
    sequences = [sequence(n, 1)[:, 0] for n in lengths]
    with trace(net) as tape:
        net(pack_sequence(sequences, enforce_sorted=False))[0].data.sum().backward()
    found = lyapunov(tape.traces[0])["lyapunov_exponent"]
    for b, x in enumerate(sequences):
        alone = lyapunov(traced(net, x[:, None]))["lyapunov_exponent"].sel(example=0)
        np.testing.assert_allclose(found.sel(example=b), alone, rtol=1e-10)


@pytest.mark.parametrize("kind", ["vanilla", "gru"])
def test_the_largest_is_the_slope_of_the_gradient_profile(kind):
    torch.manual_seed(0)
    steps = 1000
    net: Any = Recurrent(kind, 2, 8, dtype=torch.float64)
    with torch.no_grad():
        net.weight_hh_l0.mul_(2)
    found = traced(net, torch.randn(steps, 1, 2, dtype=torch.float64))
    largest = float(lyapunov(found)["lyapunov_exponent"].max())
    profile = log10_norm(found.total[0])[:, 0].numpy()
    slope = fit_decay(profile, np.arange(steps)[::-1].copy()).slope
    # A line through a random walk and its mean increment differ by their fluctuation, which falls as 1/sqrt(T).
    assert slope == pytest.approx(largest, rel=0.05)
    # End to end they differ by the start alone: what two ends of the profile add is a decade or so in 1000 steps.
    assert (profile[0] - profile[-1]) / (steps - 1) == pytest.approx(largest, abs=2 / steps)


def test_dead_units_are_not_measured():
    net = layer("vanilla", activation="relu")
    with torch.no_grad():
        net.bias_ih_l0.copy_(torch.tensor([-100.0, 9, 9, 9]))  # the first unit never fires, the others always do
        net.weight_hh_l0.mul_(0.1)
    found = lyapunov(traced(net, sequence(20)))["lyapunov_exponent"]
    assert np.isnan(found.isel(exponent=-1)).all() and np.isfinite(found.isel(exponent=slice(3))).all()


def test_coupled_examples_have_no_jacobian_each():
    assert lyapunov(traced(layer("lstm", norm="batch"), sequence())) == {}
