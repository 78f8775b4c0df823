"""Products of Jacobians against plain products, and laws for linear recurrences of any length."""

import math

import numpy as np
import pytest
import torch
from jacobians import B, T, layer, linear, orthogonal, sequence, slow_jacobians, traced
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from rnnlab.probes.jacobian_product import jacobian_product
from rnnlab.probes.tape import trace


def check(measured, steps: list[Tensor], dilation: int = 1) -> None:
    """Compare (window, index) with the plain product of an example's Jacobians, one a step."""
    product = torch.eye(len(steps[0]), dtype=torch.float64)
    for n, J in enumerate(steps[::-dilation], 1):
        product = product @ J
        values = torch.linalg.svdvals(product)
        # Singular values are known to about 1e-16 of the largest: those far above that agree in their logarithm.
        plain = values / values[0] > 1e-8
        np.testing.assert_allclose(measured.sel(window=n)[plain], values[plain].log10(), rtol=1e-7, atol=1e-7)
    assert measured.window.values[-1] == len(steps[::-dilation])


@pytest.mark.parametrize("options", [{}, {"dilation": 2}, {"norm": "batch"}], ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_windows_against_plain_products(kind, options):
    net, x = layer(kind, **options).eval(), sequence()
    found = jacobian_product(traced(net, x))["log10_singular_value"]
    for b in range(B):
        check(found.sel(example=b), slow_jacobians(net, x[:, b : b + 1]), options.get("dilation", 1))


def test_padded_examples_end_where_they_end():
    net, lengths = layer("lstm"), (3, T, 1, 5)
    sequences = [sequence(n, 1)[:, 0] for n in lengths]
    with trace(net) as tape:
        net(pack_sequence(sequences, enforce_sorted=False))[0].data.sum().backward()
    found = jacobian_product(tape.traces[0])["log10_singular_value"]
    assert sorted(found.example.values) == [0, 1, 2, 3]
    for b, length in enumerate(lengths):
        own = found.sel(example=b)
        check(own.sel(window=slice(length)), slow_jacobians(net, sequences[b][:, None]))
        assert np.isnan(own.sel(window=slice(length + 1, None))).all()


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
@pytest.mark.parametrize("rho", [0.1, 1.0, 10.0])
def test_a_scaled_orthogonal_recurrence_keeps_all_singular_values_at_its_power(rho, dtype, error):
    """Far beyond the range of the type, which is at most 324 decades."""
    steps = 400
    found = jacobian_product(linear((rho * orthogonal(3)).to(dtype), steps))["log10_singular_value"]
    expected = found.window.values[:, None] * math.log10(rho) * np.ones(3)
    # Weights rounded to `dtype` are off by that much at every step.
    assert (abs(found.sel(example=0) - expected) < error * found.window.values[:, None] + 1e-12).all()


def test_what_is_tiny_beside_the_largest_is_not_measured():
    found = jacobian_product(linear(torch.tensor([1.0, 1e-3]).diag().double(), 9))["log10_singular_value"]
    largest, smallest = found.sel(example=0).T.values
    np.testing.assert_allclose(largest, 0, atol=1e-12)
    np.testing.assert_allclose(smallest[:5], -3.0 * np.arange(1, 6), atol=1e-12)
    assert np.isnan(smallest[5:]).all()  # 1e-18 is below the rounding error of 1


def test_a_dead_recurrence_is_minus_infinity():
    found = jacobian_product(linear(torch.zeros(2, 2), 4))["log10_singular_value"]
    assert (found == -np.inf).all()


def test_coupled_examples_have_no_jacobian_each():
    assert jacobian_product(traced(layer("gru", norm="batch"), sequence())) == {}


def test_the_condition_number_of_a_diagonal_recurrence_grows_by_the_ratio_of_its_entries():
    found = jacobian_product(linear(torch.tensor([0.9, -0.6, 0.3], dtype=torch.float64).diag(), 20))
    condition = found["log10_condition_number"].sel(example=0)
    np.testing.assert_allclose(condition, condition.window * math.log10(3), rtol=1e-10)
