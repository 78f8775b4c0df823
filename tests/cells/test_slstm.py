"""The sLSTM is a weighted mean over the past, whatever the numbers that it is kept in."""

import math

import pytest
import torch
from loops import dot, run, weights_of

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 20, 3, 3, 5


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


@pytest.mark.parametrize("stabilised", [True, False])
def test_it_follows_the_paper_unit_by_unit(stabilised):
    """With the paper's stabiliser m and without; final states are its c / n and the logarithm of its n exp(m)."""
    net = Recurrent("slstm", I, H, dtype=torch.float64)
    p, last = weights_of(net), {}

    def step(x, states):
        h, c, n, m = states
        z = [dot(p["weight_ih"][j], x) + dot(p["weight_hh"][j], h) + p["bias_ih"][j] for j in range(4 * H)]
        new_h, new_c, new_n, new_m = [], [], [], []
        for j in range(H):
            z_i, z_f, z_n, z_o = z[j], z[H + j], z[2 * H + j], z[3 * H + j]
            i, f, m_j = math.exp(z_i), sigmoid(z_f), 0.0
            if stabilised:
                m_j = max(math.log(f) + m[j], z_i)
                i, f = math.exp(z_i - m_j), math.exp(math.log(f) + m[j] - m_j)
            new_m.append(m_j)
            new_c.append(f * c[j] + i * math.tanh(z_n))
            new_n.append(f * n[j] + i)
            new_h.append(sigmoid(z_o) * new_c[j] / new_n[j])
        last["c"] = [a / b for a, b in zip(new_c, new_n, strict=True)]
        last["n"] = [math.log(b) + a for a, b in zip(new_m, new_n, strict=True)]
        return new_h, new_c, new_n, new_m

    x = torch.randn(T, B, I, dtype=torch.float64)
    output, (_, c, n) = net(x)
    torch.testing.assert_close(output, run(step, x, H, H, H, H), rtol=0, atol=1e-12)
    for state, name in ((c, "c"), (n, "n")):  # of the last example
        torch.testing.assert_close(state[0, -1], torch.tensor(last[name], dtype=torch.float64), rtol=0, atol=1e-12)


def test_only_ratios_of_input_gates_matter():
    """exp(z + k) is a factor of both sums."""
    net = Recurrent("slstm", I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    before = net(x)[0]
    with torch.no_grad():
        net.get_parameter("bias_ih_l0")[:H] += 7.0
    torch.testing.assert_close(net(x)[0], before, rtol=0, atol=1e-12)


def test_gates_whose_exponential_overflows_keep_outputs_and_gradients_finite():
    net = Recurrent("slstm", 1, H)
    with torch.no_grad():
        net.get_parameter("weight_ih_l0").fill_(1.0)
    x = (torch.randn(T, B, 1) * 200).requires_grad_()  # exp(89) is infinite in float32
    assert x.max().item() > 100
    output, _ = net(x)
    output.sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert (output.abs() <= 1).all()  # a mean of tanh, times a gate


def test_the_old_mean_keeps_what_the_input_gate_leaves():
    """One unit without recurrence: dc_T/dc_t is the product of f N_{t-1} / N_t, the paper's sums divided."""
    net = Recurrent("slstm", 1, 1, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").zero_()
    x = torch.randn(T, 1, 1, dtype=torch.float64)
    z = x[:, 0] @ net.get_parameter("weight_ih_l0").detach().T + net.get_parameter("bias_ih_l0").detach()
    i, f = z[:, 0].exp(), z[:, 1].sigmoid()
    N = [i[0]]
    for t in range(1, T):
        N.append(f[t] * N[-1] + i[t])
    w, start = net.weights(), torch.zeros(1, 1, dtype=torch.float64, requires_grad=True)
    states = (torch.zeros_like(start), start, N[0].log().view(1, 1))
    for t in range(1, T):
        states = net.cell.step(w, net.cell.project(w, x[t : t + 1])[0], states, t)
    states[1].sum().backward()
    expected = math.prod(float(f[t] * N[t - 1] / N[t]) for t in range(1, T))
    assert start.grad is not None and start.grad.item() == pytest.approx(expected, rel=1e-12)
