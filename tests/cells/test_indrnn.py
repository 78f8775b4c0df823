"""Units of the IndRNN are independent, and the bound on their recurrent weights bounds their gradients."""

import copy
import math

import pytest
import torch
from loops import dot, run, weights_of

import rnnlab
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 20, 3, 3, 5


@pytest.mark.parametrize("activation", ["relu", "tanh", "identity"])
def test_it_follows_the_paper_unit_by_unit(activation):
    net = Recurrent("indrnn", I, H, activation=activation, dtype=torch.float64)
    p, phi = weights_of(net), {"relu": lambda z: max(z, 0.0), "tanh": math.tanh, "identity": float}[activation]

    def step(x, states):
        (h,) = states
        u = p["weight_hh"]
        return ([phi(dot(p["weight_ih"][j], x) + u[j] * h[j] + p["bias_ih"][j]) for j in range(H)],)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


def test_the_gradient_of_a_unit_that_stays_active_is_its_weight_to_the_power_of_the_lag():
    net = Recurrent("indrnn", I, 1, steps=T, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("weight_ih_l0").abs_()
        net.get_parameter("bias_ih_l0").fill_(0.5)
    with rnnlab.record(net) as log:
        net(torch.rand(T, 1, I, dtype=torch.float64))[0][-1].sum().backward()
    norms = torch.from_numpy(log.dataset()["log10_grad_norm"].squeeze().values)
    lags = torch.arange(T - 1, -1, -1, dtype=torch.float64)
    torch.testing.assert_close(norms, lags * math.log10(float(net.weights().weight_hh.detach())), rtol=0, atol=1e-12)


@pytest.mark.parametrize("growth", [0.5, 2.0])
def test_no_unit_can_grow_by_more_than_the_bound_however_it_is_trained(growth):
    net = Recurrent("indrnn", I, H, growth=growth, steps=T, dtype=torch.float64)
    bound = growth ** (1 / T)
    start = net.weights().weight_hh
    assert start.min() >= 0 and start.max() <= bound
    optimizer = torch.optim.SGD(net.parameters(), lr=10.0)
    for _ in range(3):
        optimizer.zero_grad()
        # Two runs share one graph here, and clipping in the second must not disturb what the first one keeps.
        outputs = [net(torch.rand(T, B, I, dtype=torch.float64))[0].mean() for _ in range(2)]
        (-net.weights().weight_hh.sum() - sum(outputs, torch.zeros(()))).backward()
        optimizer.step()
    assert (net.weights().weight_hh == bound).all()
    assert net.weights().weight_hh.max() ** T <= growth * (1 + 1e-12)
    net.zero_grad()
    net.weights().weight_hh.sum().backward()  # pulls down now: a weight at the bound must come back at once
    torch.optim.SGD(net.parameters(), lr=0.25).step()
    torch.testing.assert_close(net.weights().weight_hh.detach(), torch.full((H,), bound - 0.25, dtype=torch.float64))


def test_without_a_bound_weights_are_plain_parameters_that_start_below_one():
    net = Recurrent("indrnn", I, 50, growth=None)
    start = net.get_parameter("weight_hh_l0").detach()
    assert start.min() >= 0 and start.max() <= 1 and float(start.max()) > 0.5


def test_copies_and_saved_states_keep_weights_and_bound():
    net = Recurrent("indrnn", I, H, steps=T)
    x = torch.randn(T, B, I)
    again = Recurrent("indrnn", I, H, steps=T)
    again.load_state_dict(net.state_dict())
    for other in (again, copy.deepcopy(net)):
        assert torch.equal(other(x)[0], net(x)[0])
        with torch.no_grad():
            next(p for name, p in other.named_parameters() if "weight_hh" in name).fill_(5.0)
        assert other.weights().weight_hh.max() < 1.1  # 2^(1/20) is 1.035
