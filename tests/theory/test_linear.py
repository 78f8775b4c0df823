"""A linear recurrence decays as its matrix says."""

import math

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.layers.initialization import Initialization
from rnnlab.theory import is_scaled_orthogonal, log10_product_norms, spectral_radius

I, H, T = 3, 32, 200


def linear_profile(init: Initialization) -> tuple[np.ndarray, np.ndarray]:
    """Recorded log10 norms (T,) of a linear layer and its recurrent matrix."""
    generator = torch.Generator().manual_seed(0)
    layer = rnnlab.Recurrent(
        "vanilla", I, H, init=init, generator=generator, dtype=torch.float64, activation="identity"
    )
    with rnnlab.record(layer) as log:
        layer(torch.zeros(T, 1, I, dtype=torch.float64))[0][-1].sum().backward()
    return log.dataset()["log10_grad_norm"].values.squeeze(), layer.get_parameter("weight_hh_l0").detach().numpy()


@pytest.mark.parametrize("rho", [0.5, 0.9, 1.0, 1.1])
def test_scaled_orthogonal_is_exact_at_every_lag(rho):
    norms, W = linear_profile(Initialization(recurrent="orthogonal", recurrent_scale=rho))
    assert is_scaled_orthogonal(W)
    np.testing.assert_allclose(norms[-1] - norms, -np.arange(T)[::-1] * math.log10(rho), atol=1e-10)
    assert math.log10(spectral_radius(W)) == pytest.approx(math.log10(rho), abs=1e-12)


def test_the_spectral_radius_is_the_slope_at_long_lags():
    norms, W = linear_profile(Initialization(recurrent="glorot"))
    assert not is_scaled_orthogonal(W)
    radius = math.log10(spectral_radius(W))
    # ‖Wᵏ‖ = ρᵏ times a factor that stays bounded for a matrix with distinct eigenvalues: it fades as 1/k.
    assert (norms[0] - norms[-1]) / (T - 1) == pytest.approx(radius, abs=2 / T)
    products = log10_product_norms([W] * 4000)
    assert products[-1] / 4000 == pytest.approx(radius, abs=2 / 4000)


def test_product_norms_agree_with_the_plain_product_and_bound_the_profile():
    norms, W = linear_profile(Initialization(recurrent="glorot"))
    plain = [math.log10(np.linalg.norm(np.linalg.matrix_power(W, k), 2)) for k in range(1, 30)]
    products = log10_product_norms([W] * (T - 1))
    np.testing.assert_allclose(products[:29], plain, atol=1e-10)
    assert (norms[::-1][1:] - norms[-1] <= products + 1e-10).all()


def test_factors_are_multiplied_in_order():
    a, b = np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([[3.0, 0.0], [0.0, 5.0]])
    np.testing.assert_allclose(log10_product_norms([a, b]), [math.log10(2), math.log10(10)])
    np.testing.assert_allclose(log10_product_norms([b, a]), [math.log10(5), math.log10(6)])


def test_products_neither_overflow_nor_fail_at_zero():
    np.testing.assert_allclose(log10_product_norms([10.0 * np.eye(2)] * 1000), np.arange(1, 1001))
    nilpotent = np.array([[0.0, 1.0], [0.0, 0.0]])
    assert log10_product_norms([nilpotent] * 3).tolist() == [0, -math.inf, -math.inf]


def test_a_matrix_that_is_not_normal_grows_before_it_decays():
    W = np.array([[0.5, 10.0], [0.0, 0.5]])
    products = log10_product_norms([W] * 200)
    assert products[0] > 1 and products[-1] < 0
    assert products[-1] - products[-2] == pytest.approx(math.log10(spectral_radius(W)), abs=0.005)
