"""Saturation against closed forms of slopes, on pre-activations from equations written out step by step."""

from typing import Any

import numpy as np
import pytest
import torch
from pre_activations import pre_activations, traced
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from rnnlab.cells.activations import ACTIVATIONS
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.saturation import QUANTILES, saturation
from rnnlab.probes.tape import trace

T, B, I, H = 6, 4, 3, 5
GATES = {"input", "forget", "output", "reset", "update"}

# All float64: replayed pre-activations are sums over other groupings of rows; shares are ratios of small integers.
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def large(kind: str, **options: Any) -> Any:
    """A layer with weights so large that some units saturate and some do not."""
    torch.manual_seed(0)
    net = Recurrent(kind, I, H, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(5)
    return net


def tanh_or_sigmoid_slope(name: str, z: Tensor) -> Tensor:
    return torch.sigmoid(z) * torch.sigmoid(-z) if name in GATES else torch.cosh(z) ** -2


def check(found: dict[str, Any], name: str, z: Tensor, slope: Tensor) -> None:
    """Compare one non-linearity with (T, units) pre-activations and slopes."""
    own = {key: array.sel(nonlinearity=name).values for key, array in found.items()}
    np.testing.assert_allclose(own["saturated_fraction"], (slope.abs() < 0.05).double().mean(1), **CLOSE)
    np.testing.assert_allclose(own["outside_fraction"], ((z > 4) | (z < -4)).double().mean(1), **CLOSE)
    np.testing.assert_allclose(own["mean_slope"], slope.abs().mean(1), **CLOSE)
    np.testing.assert_allclose(own["pre_activation"], np.quantile(z, QUANTILES, axis=1), **CLOSE)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_slopes_of_gates_and_activations_have_closed_forms(kind):
    net, x = large(kind), torch.randn(T, B, I, dtype=torch.float64)
    found = saturation(traced(net, x))
    expected = pre_activations(net, x)
    assert set(found["mean_slope"].nonlinearity.values) == set(expected)
    for name, z in expected.items():
        z = z.flatten(1)
        check(found, name, z, tanh_or_sigmoid_slope(name, z))
    shares = found["saturated_fraction"]
    assert 0 < float(shares.mean()) < 1  # the weights are such that both sides occur


SLOPES = {
    "identity": torch.ones_like,
    "tanh": lambda z: 1 - torch.tanh(z) ** 2,
    "sigmoid": lambda z: torch.sigmoid(z) * (1 - torch.sigmoid(z)),
    "relu": lambda z: (z > 0).double(),
    "leaky_relu": lambda z: torch.ones_like(z).where(z > 0, 0.01),
    "elu": lambda z: torch.where(z > 0, 1.0, z.exp()),
    "softsign": lambda z: (1 + z.abs()) ** -2,
    "softplus": torch.sigmoid,
    "gelu": lambda z: torch.special.ndtr(z) + z * (-z * z / 2).exp() / (2 * torch.pi) ** 0.5,
    "hard_tanh": lambda z: (z.abs() < 1).double(),
    "erf": lambda z: 2 / torch.pi**0.5 * torch.exp(-(z**2)),
    "modrelu": lambda z: (z.abs() > 0.3).double(),  # the bias below
}


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "modrelu"])
def test_every_activation_of_the_vanilla_cell(activation):
    net, x = large("vanilla", activation=activation), torch.randn(1, B, I, dtype=torch.float64)
    if activation == "modrelu":
        with torch.no_grad():
            net.modrelu_bias_l0.fill_(-0.3)
    z = x[0] @ net.weight_ih_l0.T + net.bias_ih_l0 + net.bias_hh_l0  # (B, H); the state before is zero
    z = z.detach().flatten()[None]
    check(saturation(traced(net, x)), "hidden", z, SLOPES[activation](z))


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=["forward", "both directions"])
def test_examples_that_have_ended_do_not_count(options):
    net = large("lstm", **options)
    sequences = [torch.randn(n, I, dtype=torch.float64) for n in (3, T, 1)]
    with trace(net) as tape:
        net(pack_sequence(sequences, enforce_sorted=False))[0].data.sum().backward()
    for found in tape.traces:
        backwards = found.direction == "reverse"
        alone = [
            pre_activations(net, x.flip(0)[:, None] if backwards else x[:, None], found.direction)["forget"]
            for x in sequences
        ]
        alone = [z.flip(0) for z in alone] if backwards else alone
        measured = saturation(found)["mean_slope"].sel(nonlinearity="forget").values
        for t in range(T):
            z = torch.cat([z[t].flatten() for z in alone if t < len(z)])
            assert measured[t] == pytest.approx(float((torch.sigmoid(z) * torch.sigmoid(-z)).mean()), abs=1e-12)


def test_batch_norm_and_cells_without_elementwise_functions():
    normed = saturation(traced(large("gru", norm="batch"), torch.randn(T, B, I, dtype=torch.float64)))
    assert np.isfinite(normed["mean_slope"].values).all()
    assert saturation(traced(large("unitary"), torch.randn(T, B, I, dtype=torch.float64))) == {}
