"""Mean-field predictions agree with closed forms, with sampling, and with a wide network."""

import math

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.gradients.decay import fit_decay
from rnnlab.layers.initialization import Initialization
from rnnlab.theory import chi_one, critical_sigma_w, fixed_point, gaussian_moments, mean_field_slope

VARIANCES = [1e-6, 0.1, 1.0, 5.0, 400.0, 1e6]
QUADRATURE = 1e-11  # relative; twenty Gauss-Legendre nodes a panel leave rounding alone


def erf_moments(q: float) -> tuple[float, float]:
    """Williams 1998, "Computation with Infinite Networks", at equal inputs."""
    return 2 / math.pi * math.asin(2 * q / (1 + 2 * q)), 4 / math.pi / math.sqrt(1 + 4 * q)


@pytest.mark.parametrize("q", VARIANCES)
def test_quadrature_agrees_with_closed_forms(q):
    assert gaussian_moments("identity", q) == pytest.approx((q, 1), rel=QUADRATURE)
    assert gaussian_moments("relu", q) == pytest.approx((q / 2, 1 / 2), rel=QUADRATURE)
    share = (1 + 0.01**2) / 2
    assert gaussian_moments("leaky_relu", q) == pytest.approx((q * share, share), rel=QUADRATURE)
    assert gaussian_moments("hard_tanh", q).slope == pytest.approx(math.erf(1 / math.sqrt(2 * q)), rel=QUADRATURE)
    assert gaussian_moments(torch.erf, q) == pytest.approx(erf_moments(q), rel=QUADRATURE)


@pytest.mark.parametrize("q", [0.1, 0.5])
def test_tanh_agrees_with_gauss_hermite(q):
    x, weights = np.polynomial.hermite_e.hermegauss(180)
    value = np.tanh(math.sqrt(q) * x)
    expected = (weights @ value**2, weights @ (1 - value**2) ** 2) / np.sqrt(2 * math.pi)
    # The poles of tanh limit Gauss-Hermite, not us: its error grows with q.
    assert gaussian_moments("tanh", q) == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "softplus", "gelu", "elu", "softsign", "hard_tanh"])
def test_moments_agree_with_sampling(name):
    q, n = 3.0, 400_000
    generator = torch.Generator().manual_seed(0)
    z = (math.sqrt(q) * torch.randn(n, generator=generator, dtype=torch.float64)).requires_grad_()
    values = rnnlab.cells.activations.ACTIVATIONS[name](z)
    (slopes,) = torch.autograd.grad(values.sum(), z)
    for sampled, computed in zip((values.detach() ** 2, slopes**2), gaussian_moments(name, q), strict=True):
        assert computed == pytest.approx(float(sampled.mean()), abs=4 * float(sampled.std()) / math.sqrt(n))


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "gelu", "softplus"])
@pytest.mark.parametrize("sigma_w", [0.6, 1.1])
def test_the_fixed_point_is_where_the_recursion_settles(name, sigma_w):
    q, before = 0.04, 0.0  # a hidden state of zero leaves the input alone
    while abs(q - before) > 1e-14 * q:  # a step leaves at most 0.61 of it, so 2e-14 is missing
        q, before = sigma_w**2 * gaussian_moments(name, q).value + 0.04, q
    assert fixed_point(name, sigma_w, 0.2) == pytest.approx(q, rel=1e-9)


def test_relu_settles_only_below_a_variance_of_two():
    assert fixed_point("relu", 1.0, 0.3) == pytest.approx(0.09 / (1 - 1 / 2), rel=1e-9)
    assert fixed_point("relu", 1.5, 0.3) == math.inf
    assert chi_one("relu", 1.5, 0.3) == pytest.approx(1.5**2 / 2)


def test_activity_without_input_dies_out_below_one_and_keeps_itself_alive_above():
    assert fixed_point("tanh", 0.9, 0.0) == 0
    assert chi_one("tanh", 0.9, 0.0) == pytest.approx(0.81)
    alive = fixed_point("tanh", 1.5, 0.0)
    assert alive == pytest.approx(1.5**2 * gaussian_moments("tanh", alive).value, rel=1e-9)
    assert alive > 0.1 and chi_one("tanh", 1.5, 0.0) > 1


def test_criticality():
    assert critical_sigma_w("tanh", 0.0) == pytest.approx(1, abs=1e-6)
    assert critical_sigma_w("relu", 0.5) == pytest.approx(math.sqrt(2), rel=1e-9)
    q = 0.7  # for erf, both conditions can be solved for σ_w and σ_in once q* is given
    value, slope = erf_moments(q)
    sigma_w = 1 / math.sqrt(slope)
    sigma_in = math.sqrt(q - sigma_w**2 * value)
    assert critical_sigma_w(torch.erf, sigma_in) == pytest.approx(sigma_w, rel=1e-8)
    assert (
        mean_field_slope(torch.erf, 0.99 * sigma_w, sigma_in)
        < 0
        < mean_field_slope(torch.erf, 1.01 * sigma_w, sigma_in)
    )


def test_an_unknown_activation_is_refused():
    with pytest.raises(UserError, match="did you mean 'tanh'"):
        gaussian_moments("tahn", 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "sigma_w", "scheme"),
    [
        ("tanh", 1 / math.sqrt(3), "torch"),
        ("tanh", 1.5, "torch"),
        ("tanh", 1.2, "orthogonal"),
        ("relu", 1.0, "torch"),
        ("sigmoid", 2.0, "torch"),
    ],
)
def test_a_wide_network_has_the_predicted_slope(name, sigma_w, scheme):
    I, H, T, B, seeds = 200, 450, 24, 4, 4
    scale = sigma_w * math.sqrt(3) if scheme == "torch" else sigma_w  # U(±1/√H) has variance 1/(3H)
    lag = np.arange(T)[::-1]
    near = lag <= 15  # before them the state still settles
    slopes = []
    for seed in range(seeds):
        generator = torch.Generator().manual_seed(seed)
        init = Initialization(recurrent=scheme, recurrent_scale=scale)
        layer = rnnlab.Recurrent("vanilla", I, H, bias=False, init=init, generator=generator, activation=name)
        x, v = torch.randn(T, B, I, generator=generator), torch.randn(B, H, generator=generator)
        with rnnlab.record(layer) as log:
            (layer(x)[0][-1] * v).sum().backward()
        norms = log.dataset()["log10_grad_norm"].values.squeeze()
        slopes.append(fit_decay(norms[near], lag[near]).slope)
    predicted = mean_field_slope(name, sigma_w, math.sqrt(I / (3 * H)))
    # One seed scatters by 0.001 to 0.007 decades a step, as 1/√H; the mean of four by half of that.
    assert np.mean(slopes) == pytest.approx(predicted, abs=0.008)
