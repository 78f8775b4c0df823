"""The RG-LRU decays by a power of its own number, which the input chooses."""

import math

import pytest
import torch
from loops import dot, log10_norms, run, weights_of

from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 20, 3, 3, 5


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def test_it_follows_the_paper_unit_by_unit():
    net = Recurrent("rglru", I, H, dtype=torch.float64)
    p = weights_of(net)

    def step(x, states):
        (h,) = states
        z = [dot(p["weight_ih"][j], x) + p["bias_ih"][j] for j in range(3 * H)]
        new = []
        for j in range(H):
            r, i, v = sigmoid(z[j]), sigmoid(z[H + j]), z[2 * H + j]
            a = sigmoid(p["weight_hh"][j]) ** (8 * r)
            new.append(a * h[j] + math.sqrt(1 - a**2) * (i * v))
        return (new,)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("bias", "opening"), [(50.0, 1.0), (0.0, 0.5), (-50.0, 0.0)])
def test_the_recurrence_gate_chooses_the_rate_at_which_a_gradient_decays(bias, opening):
    net = Recurrent("rglru", I, 1, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("weight_ih_l0")[0] = 0.0
        net.get_parameter("bias_ih_l0")[0] = bias
        rate = 8 * opening * float(net.get_parameter("weight_hh_l0").sigmoid().log10())
    norms = log10_norms(net, torch.randn(T, B, I, dtype=torch.float64))
    lag = torch.arange(T - 1, -1, -1, dtype=torch.float64).unsqueeze(1)
    torch.testing.assert_close(norms - norms[-1], lag * rate + torch.zeros(T, B), rtol=0, atol=1e-12)


def test_units_start_uniformly_over_the_ring():
    net = Recurrent("rglru", I, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    modulus = net.get_parameter("weight_hh_l0").detach().sigmoid()
    area = ((modulus**2 - 0.9**2) / (0.999**2 - 0.9**2)).sort().values
    assert (area - (torch.arange(1000) + 0.5) / 1000).abs().max() < 1.63 / math.sqrt(1000)  # Kolmogorov-Smirnov, 1 %


def test_an_empty_ring_is_refused():
    with pytest.raises(UserError, match=r"r_min = 0.9 must be below r_max = 0.5"):
        Recurrent("rglru", I, H, r_max=0.5)
