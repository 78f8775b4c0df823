"""Long expressive memory, against its equations unit by unit, and its bound."""

import math

import pytest
import torch
from loops import dot, run, weights_of

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 7, 3, 2, 4


def test_it_follows_the_paper_unit_by_unit():
    dt = 0.7
    net = Recurrent("lem", I, H, dt=dt, dtype=torch.float64)
    p = weights_of(net)

    def step(x, states):
        y, z = states

        def pre(block: int, j: int, state: list[float]) -> float:
            r = block * H + j
            return dot(p["weight_ih"][r], x) + p["bias_ih"][r] + dot(p["weight_hh"][r], state)

        y_step = [dt / (1 + math.exp(-pre(0, j, y))) for j in range(H)]
        z_step = [dt / (1 + math.exp(-pre(1, j, y))) for j in range(H)]
        z = [(1 - z_step[j]) * z[j] + z_step[j] * math.tanh(pre(2, j, y)) for j in range(H)]
        y = [(1 - y_step[j]) * y[j] + y_step[j] * math.tanh(pre(3, j, z)) for j in range(H)]
        return y, z

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H, H), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dt", [0.1, 1.0])
def test_both_states_stay_between_minus_one_and_one(dt):
    torch.manual_seed(0)
    net = Recurrent("lem", I, H, dt=dt, dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(100)
        h, (_, z) = net(10 * torch.randn(500, B, I, dtype=torch.float64))
    assert h.abs().max() <= 1 and z.abs().max() <= 1
    assert h.abs().max() > 0.9  # it does reach the bound


def test_closed_time_gates_keep_the_past_and_its_gradient():
    net = Recurrent("lem", I, H, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("bias_ih_l0")[: 2 * H] = -200.0  # σ(-200) = 1e-87
    start = tuple(torch.rand(1, B, H, dtype=torch.float64, requires_grad=True) for _ in range(2))
    h, final = net(torch.randn(50, B, I, dtype=torch.float64), start)
    torch.testing.assert_close(final, start, rtol=0, atol=1e-14)
    (gradient,) = torch.autograd.grad(h[-1].sum(), start[0])
    torch.testing.assert_close(gradient, torch.ones_like(gradient), rtol=0, atol=1e-14)
