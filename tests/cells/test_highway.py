"""The recurrent highway network against its equations, and a highway with every gate closed."""

import math

import pytest
import torch
from loops import dot, log10_norms, run, weights_of

from rnnlab.layers.initialization import Initialization
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 5, 3, 3, 4


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("coupled", [True, False])
@pytest.mark.parametrize("depth", [1, 3])
def test_it_follows_the_paper_unit_by_unit(depth, coupled, bias):
    net = Recurrent("highway", I, H, depth=depth, coupled=coupled, transform_bias=None, bias=bias, dtype=torch.float64)
    p = weights_of(net)
    blocks = 2 if coupled else 3

    def step(x, states):
        (s,) = states
        for layer in range(1, depth + 1):
            R = p["weight_hh" if layer == 1 else f"weight_hh{layer}"]
            b = p["bias_ih" if layer == 1 else f"bias_hh{layer}"] if bias else [0.0] * (blocks * H)
            z = [dot(R[r], s) + b[r] + (dot(p["weight_ih"][r], x) if layer == 1 else 0.0) for r in range(blocks * H)]
            g = [sigmoid(v) for v in z[:H]]
            c = [1 - v for v in g] if coupled else [sigmoid(v) for v in z[H : 2 * H]]
            n = [math.tanh(v) for v in z[-H:]]
            s = [n[j] * g[j] + s[j] * c[j] for j in range(H)]
        return (s,)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


def test_transform_gates_biased_shut_carry_the_gradient_unchanged_through_every_micro_layer():
    net = Recurrent("highway", I, H, transform_bias=-60.0, dtype=torch.float64)  # σ(-60) is 1e-26
    norms = log10_norms(net, torch.randn(20, B, I, dtype=torch.float64))
    torch.testing.assert_close(norms, norms[-1].expand_as(norms), rtol=0, atol=1e-12)


def test_every_micro_layer_starts_with_its_own_recurrent_blocks_and_transform_bias():
    net = Recurrent(
        "highway", I, H, transform_bias=-3.0, init=Initialization(recurrent="orthogonal", recurrent_scale=0.5)
    )
    for name in ("weight_hh", "weight_hh2", "weight_hh3"):
        for block in net.get_parameter(f"{name}_l0").detach().split(H):
            torch.testing.assert_close(block @ block.T, 0.25 * torch.eye(H))
    for name in ("bias_ih", "bias_hh2", "bias_hh3"):
        transform, new = net.get_parameter(f"{name}_l0").detach().split(H)
        assert (transform == -3.0).all() and not (new == -3.0).any()
