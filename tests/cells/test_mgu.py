"""The minimal gated unit against its equations, unit by unit."""

import math

import torch
from loops import dot, log10_norms, run, weights_of

from rnnlab.layers.initialization import Initialization
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 6, 3, 3, 4


def test_it_follows_the_paper_unit_by_unit():
    net = Recurrent("mgu", I, H, dtype=torch.float64)
    p = weights_of(net)

    def step(x, states):
        (h,) = states
        u = [dot(p["weight_ih"][r], x) + p["bias_ih"][r] for r in range(2 * H)]
        f = [1 / (1 + math.exp(-u[j] - dot(p["weight_hh"][j], h))) for j in range(H)]
        kept = [f[j] * h[j] for j in range(H)]
        n = [math.tanh(u[H + j] + dot(p["weight_hh"][H + j], kept)) for j in range(H)]
        return ([(1 - f[j]) * h[j] + f[j] * n[j] for j in range(H)],)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


def test_a_closed_gate_keeps_state_and_gradient():
    net = Recurrent("mgu", I, H, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("bias_ih_l0")[:H] = -60.0  # σ(-60) is 1e-26: less than the rounding of a state of order one
    x, h = torch.randn(T, B, I, dtype=torch.float64), torch.randn(1, B, H, dtype=torch.float64)
    assert torch.equal(net(x, h)[1], h)
    norms = log10_norms(net, x)
    torch.testing.assert_close(norms, norms[-1].expand_as(norms), rtol=0, atol=1e-12)


def test_chrono_biases_its_one_gate_towards_keeping():
    net = Recurrent("mgu", I, 64, init=Initialization(bias="chrono"), steps=200)
    forget, new = net.get_parameter("bias_ih_l0").detach().split(64)
    assert (-forget).min() >= 0 and 10 < (-forget).exp().max() <= 199
    assert not new.any()
