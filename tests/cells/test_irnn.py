"""The IRNN starts as a sum over its inputs that hands gradients back unchanged."""

import math

import pytest
import torch
from loops import log10_norms

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 8, 3, 3, 5


@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_with_positive_drive_it_sums_and_every_step_back_scales_the_gradient(scale):
    net = Recurrent("irnn", I, H, scale=scale, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("weight_ih_l0").abs_()
    x = torch.rand(T, B, I, dtype=torch.float64) + 0.1
    u = x @ net.get_parameter("weight_ih_l0").T
    lag = torch.arange(T).view(-1, 1) - torch.arange(T)
    expected = torch.einsum("tk,kbh->tbh", torch.where(lag >= 0, scale**lag, 0.0).double(), u)
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)
    steps = log10_norms(net, x).diff(dim=0)  # forwards in time: each earlier norm is smaller by the factor `scale`
    torch.testing.assert_close(steps, torch.full_like(steps, -math.log10(scale)), rtol=0, atol=1e-12)


def test_negative_pre_activations_are_cut():
    net = Recurrent("irnn", I, H, dtype=torch.float64)
    x, h = torch.randn(T, B, I, dtype=torch.float64), torch.zeros(B, H, dtype=torch.float64)
    for x_t, y in zip(x, net(x)[0], strict=True):
        h = (x_t @ net.get_parameter("weight_ih_l0").T + h).clamp(min=0)
        torch.testing.assert_close(y, h, rtol=0, atol=1e-13)


def test_biases_start_at_zero_and_may_be_left_out():
    assert not Recurrent("irnn", I, H).get_parameter("bias_ih_l0").any()
    assert "bias_ih_l0" not in Recurrent("irnn", I, H, bias=False).state_dict()
