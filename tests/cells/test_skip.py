"""Skip connections through time, against a loop that keeps every hidden state."""

import math

import pytest
import torch
from loops import dot, run, weights_of

from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 11, 3, 2, 4


@pytest.mark.parametrize("span", [2, 3, 5])
def test_it_reads_the_hidden_state_of_span_steps_ago(span):
    net = Recurrent("skip", I, H, span=span, dtype=torch.float64)
    p = weights_of(net)

    def step(x, states):
        h, *past = states  # h_{t-1}, then h_{t-2} .. h_{t-s}
        z = [dot(p["weight_ih"][j], x) + p["bias_ih"][j] + dot(p["weight_hh"][j], h) for j in range(H)]
        return [math.tanh(z[j] + dot(p["weight_hh_skip"][j], past[-1])) for j in range(H)], h, *past[:-1]

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, *[H] * span), rtol=0, atol=1e-12)


def test_the_skip_alone_carries_gradients_over_multiples_of_its_span_in_as_many_fewer_steps():
    """With U = 0 and V = I near the origin, the gradient is (tanh')^(lag / s), and zero at every other lag."""
    span = 4
    net = Recurrent("skip", I, H, span=span, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").zero_()
        net.get_parameter("weight_hh_skip_l0").copy_(torch.eye(H))
    x = torch.randn(T, 1, I, dtype=torch.float64)
    pre = x @ net.get_parameter("weight_ih_l0").T + net.get_parameter("bias_ih_l0")
    shift = torch.zeros_like(pre).requires_grad_()  # dL/dh_t through what is added at t, before its tanh
    h, _ = _with_shifted_inputs(net, x, shift)
    (gradient,) = torch.autograd.grad(h[-1].sum(), shift)
    slopes = 1 - h.detach() ** 2
    for lag in range(T):
        passed = slopes[T - 1 - lag :: span].prod(0) if lag % span == 0 else torch.zeros(1, H).double()
        torch.testing.assert_close(gradient[T - 1 - lag], passed, rtol=1e-12, atol=0)


def _with_shifted_inputs(net: Recurrent, x: torch.Tensor, shift: torch.Tensor) -> tuple[torch.Tensor, object]:
    """Run the cell's own steps with a leaf added to every pre-activation."""
    w, states, outputs = net.weights(), net.cell.initial_states(x.shape[1], x), []
    for t, u in enumerate(net.cell.project(w, x) + shift):
        states = net.cell.step(w, u, states, t)
        outputs.append(states[0])
    return torch.stack(outputs), states


def test_a_span_of_one_is_the_recurrence_itself_and_refused():
    with pytest.raises(UserError, match="span = 1 is not allowed"):
        Recurrent("skip", I, H, span=1)
