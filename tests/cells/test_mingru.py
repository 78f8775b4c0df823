"""The minimal GRU, against its equations and its closed form."""

import math

import pytest
import torch
from loops import dot, run, weights_of

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 7, 3, 2, 4


def test_it_follows_the_paper_unit_by_unit():
    net = Recurrent("mingru", I, H, dtype=torch.float64)
    p = weights_of(net)

    def step(x, states):
        (h,) = states
        u = [dot(p["weight_ih"][r], x) + p["bias_ih"][r] for r in range(2 * H)]
        z = [1 / (1 + math.exp(-u[j])) for j in range(H)]
        return ([(1 - z[j]) * h[j] + z[j] * u[H + j] for j in range(H)],)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


def test_the_gradient_over_a_lag_is_the_product_of_what_the_gates_keep():
    net = Recurrent("mingru", I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    start = torch.zeros(1, B, H, dtype=torch.float64, requires_grad=True)
    h, _ = net(x, start)
    (gradient,) = torch.autograd.grad(h[-1].sum(), start)
    gates = (x @ net.get_parameter("weight_ih_l0")[:H].T + net.get_parameter("bias_ih_l0")[:H]).sigmoid()
    torch.testing.assert_close(gradient[0], (1 - gates).prod(0), rtol=1e-12, atol=0)


def test_there_are_no_recurrent_weights():
    assert {name for name, _ in Recurrent("mingru", I, H).named_parameters()} == {"weight_ih_l0", "bias_ih_l0"}


def test_a_start_for_recurrent_weights_is_refused():
    experiment = {"task": {"kind": "adding"}, "cell": {"kind": "mingru"}, "init": {"recurrent": "identity"}}
    with pytest.raises(UserError, match=r"init.recurrent = 'identity' cannot apply.*'mingru' has no weight_hh"):
        Config.parse(experiment)
