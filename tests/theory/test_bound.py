"""The bound holds for every measured step, and it is the best one."""

import math
from typing import get_args

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.cells.activations import ACTIVATIONS, ActivationName
from rnnlab.layers.initialization import Initialization
from rnnlab.theory import STEEPEST, step_bound

I, H, T, B = 3, 24, 15, 6
ROUNDING = 1e-10  # decades; float64 norms of products of a few dozen terms


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_steepest_is_the_supremum_of_the_derivative(name):
    z = torch.linspace(-40, 40, 400_001, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(ACTIVATIONS[name](z).sum(), z)
    # The grid passes within 1e-4 of every maximum, and the slope falls off at most linearly from it.
    assert STEEPEST[name] - 2e-4 <= float(slope.abs().max()) <= STEEPEST[name] + 1e-12


def test_every_activation_has_a_steepest_slope():
    assert set(STEEPEST) == set(get_args(ActivationName))


def profile(activation: str, scale: float, residual: float | None) -> tuple[np.ndarray, float]:
    """log10 norms (T, B) of the total gradient of a random last-step loss, and σ_max of the recurrent matrix."""
    generator = torch.Generator().manual_seed(1)
    layer = rnnlab.Recurrent(
        "vanilla",
        I,
        H,
        init=Initialization(recurrent="glorot", recurrent_scale=scale),
        generator=generator,
        dtype=torch.float64,
        activation=activation,
        residual=residual,
    )
    x = torch.randn(T, B, I, generator=generator, dtype=torch.float64)
    v = torch.randn(B, H, generator=generator, dtype=torch.float64)
    with rnnlab.record(layer, per_example=True) as log:
        (layer(x)[0][-1] * v).sum().backward()
    weight = layer.get_parameter("weight_hh_l0").detach()
    return log.dataset()["log10_grad_norm_per_example"].values.squeeze(), float(torch.linalg.matrix_norm(weight, 2))


@pytest.mark.parametrize("residual", [None, 0.3])
@pytest.mark.parametrize("name", sorted(STEEPEST))
def test_no_measured_step_exceeds_the_bound(name, residual):
    norms, spectral_norm = profile(name, 0.8, residual)
    per_step = norms[:-1] - norms[1:]  # decades per step of lag
    assert per_step.max() <= math.log10(step_bound(name, spectral_norm, residual)) + ROUNDING


def test_a_spectral_norm_below_the_inverse_slope_makes_every_step_shrink():
    norms, spectral_norm = profile("sigmoid", 1.9, None)
    assert 1 < spectral_norm < 4  # beyond 1 without exploding: what counts is 1/γ = 4
    assert step_bound("sigmoid", spectral_norm) < 1
    assert (norms[:-1] < norms[1:]).all()


@pytest.mark.parametrize("residual", [None, 0.3])
def test_the_bound_is_attained(residual):
    """With W = 1.2 · identity and no saturation every direction is stretched as far as the bound allows."""
    layer = rnnlab.Recurrent(
        "vanilla",
        I,
        H,
        bias=False,
        init=Initialization(recurrent="identity", recurrent_scale=1.2),
        dtype=torch.float64,
        activation="tanh",
        residual=residual,
    )
    with rnnlab.record(layer) as log:
        layer(torch.zeros(T, 1, I, dtype=torch.float64))[0][-1].sum().backward()
    norms = log.dataset()["log10_grad_norm"].values.squeeze()
    expected = math.log10(step_bound("tanh", 1.2, residual))
    np.testing.assert_allclose(norms[:-1] - norms[1:], expected, atol=ROUNDING)
