"""The minimal LSTM, against its equations and its closed form."""

import math

import torch
from loops import dot, run, weights_of

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 7, 3, 2, 4


def test_it_follows_the_paper_unit_by_unit():
    net = Recurrent("minlstm", I, H, dtype=torch.float64)
    p = weights_of(net)

    def step(x, states):
        (h,) = states
        u = [dot(p["weight_ih"][r], x) + p["bias_ih"][r] for r in range(3 * H)]
        f, i = ([1 / (1 + math.exp(-u[block * H + j])) for j in range(H)] for block in (0, 1))
        return ([f[j] / (f[j] + i[j]) * h[j] + i[j] / (f[j] + i[j]) * u[2 * H + j] for j in range(H)],)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


def test_the_gradient_over_a_lag_is_the_product_of_the_shares_of_the_forget_gate():
    net = Recurrent("minlstm", I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    start = torch.zeros(1, B, H, dtype=torch.float64, requires_grad=True)
    h, _ = net(x, start)
    (gradient,) = torch.autograd.grad(h[-1].sum(), start)
    f, i, _ = (x @ net.get_parameter("weight_ih_l0").T + net.get_parameter("bias_ih_l0")).sigmoid().chunk(3, -1)
    torch.testing.assert_close(gradient[0], (f / (f + i)).prod(0), rtol=1e-12, atol=0)


def test_a_constant_input_is_remembered_at_its_own_size():
    """h_t is a mean of new values, so with one value that never changes it stays there, however long."""
    net = Recurrent("minlstm", I, H, dtype=torch.float64)
    x = torch.ones(1, 1, I, dtype=torch.float64)
    new = (x[0] @ net.get_parameter("weight_ih_l0").T + net.get_parameter("bias_ih_l0"))[:, 2 * H :]
    h, _ = net(x.expand(1000, -1, -1), new.unsqueeze(0))
    torch.testing.assert_close(h, new.expand(1000, -1, -1), rtol=1e-12, atol=0)


def test_there_are_no_recurrent_weights():
    assert {name for name, _ in Recurrent("minlstm", I, H).named_parameters()} == {"weight_ih_l0", "bias_ih_l0"}
