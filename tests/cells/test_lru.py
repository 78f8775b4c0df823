"""The linear recurrent unit: recurrence and convolution agree, and every unit decays by its own modulus."""

import copy
import math

import pytest
import torch
from torch import Tensor

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 9, 3, 2, 5


def numbers(net: Recurrent) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """λ, γB, C and D as the paper has them, from the trained values."""
    p = net.state_dict()
    nu, theta = p["parametrizations.weight_hh_l0.original"]
    B_re, B_im = p["weight_ih_l0"].chunk(2)
    C_re, minus_C_im = p["weight_ho_l0"].chunk(2, -1)
    gamma = p["gamma_log_l0"].exp().unsqueeze(-1)
    eigenvalues = torch.exp(torch.complex(-nu.exp(), theta.exp()))
    return eigenvalues, gamma * torch.complex(B_re, B_im), torch.complex(C_re, -minus_C_im), p["weight_io_l0"].clone()


def test_recurrence_and_convolution_agree():
    """h_t = Σ_k λ^k γ B x_{t-k}, in complex numbers; output Re(C h) + D x."""
    torch.manual_seed(0)
    net = Recurrent("lru", I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    eigenvalues, scaled_B, C, D = numbers(net)
    drive = x.to(torch.complex128) @ scaled_B.T
    expected = torch.zeros_like(drive)
    for t in range(T):
        for k in range(t + 1):
            expected[t] += eigenvalues**k * drive[t - k]
    outputs, final = net(x)
    torch.testing.assert_close(outputs, (expected @ C.T).real + x @ D.T, rtol=0, atol=1e-12)
    torch.testing.assert_close(final[0], torch.cat([expected[-1].real, expected[-1].imag], -1), rtol=0, atol=1e-12)


def test_the_gradient_of_a_unit_shrinks_by_its_modulus_at_every_lag():
    """The two real numbers of a unit are turned and scaled by λ: a gradient norm of exactly abs(λ)^lag."""
    net = Recurrent("lru", I, 1, r_min=0.5, r_max=0.9, dtype=torch.float64)
    modulus = float(numbers(net)[0].abs())
    x = torch.randn(60, 1, I, dtype=torch.float64)
    with rnnlab.record(net) as log:
        net(x)[0][-1].sum().backward()
    profile = torch.from_numpy(log.dataset()["log10_grad_norm"].values.squeeze()).flip(0)
    lag = torch.arange(60, dtype=torch.float64)
    torch.testing.assert_close(profile - profile[0], lag * math.log10(modulus), rtol=0, atol=1e-10)


@pytest.mark.parametrize(("r_min", "r_max", "max_phase"), [(0.0, 1.0, math.tau), (0.9, 0.999, 0.3)])
def test_units_start_uniformly_on_the_ring(r_min, r_max, max_phase):
    net = Recurrent("lru", I, 1000, r_min=r_min, r_max=r_max, max_phase=max_phase, dtype=torch.float64,
                    generator=torch.Generator().manual_seed(0))  # fmt: skip
    eigenvalues = numbers(net)[0]
    modulus, angle = eigenvalues.abs(), eigenvalues.angle() % math.tau
    area = (modulus**2 - r_min**2) / (r_max**2 - r_min**2)  # uniform over the ring is uniform in the squared radius
    for share in (area, angle / max_phase):
        assert share.min() >= 0 and share.max() <= 1 + 1e-9
        even = (torch.arange(1000) + 0.5) / 1000
        assert (share.sort().values - even).abs().max() < 1.63 / math.sqrt(1000)  # Kolmogorov-Smirnov, 1 %
    torch.testing.assert_close(net.get_parameter("gamma_log_l0").exp() ** 2 + modulus**2, torch.ones(1000).double())


def test_white_input_gives_every_unit_the_variance_of_its_own_input_weights():
    """γ² / (1 - abs(λ)²) = 1: E abs(h_j)² = Σ_i abs(B_ji)² whatever λ."""
    net = Recurrent("lru", 1, 3, r_min=0.3, r_max=0.95, dtype=torch.float64)
    B_re, B_im = net.get_parameter("weight_ih_l0").detach().chunk(2)
    with torch.no_grad():
        x = torch.randn(4000, 50, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        w, h = net.weights(), torch.zeros(50, 6, dtype=torch.float64)
        power = torch.zeros(3, dtype=torch.float64)
        for t, u in enumerate(net.cell.project(w, x)):
            (h,) = net.cell.step(w, u, (h,), t)
            power += (h[:, :3] ** 2 + h[:, 3:] ** 2).mean(0) / 4000
    # About 2e5 / 40 independent samples: a standard error of 2 %; five of them.
    torch.testing.assert_close(power, (B_re**2 + B_im**2)[:, 0], rtol=0.1, atol=0)


def test_no_training_step_makes_a_unit_unstable():
    torch.manual_seed(0)
    net = Recurrent("lru", I, H, r_min=0.9, dtype=torch.float64)
    optimizer = torch.optim.SGD(net.parameters(), lr=1e3)
    before = numbers(net)[0]
    for _ in range(3):
        (-net(torch.randn(T, B, I, dtype=torch.float64))[0].square().mean()).tanh().backward()  # longer memory pays
        optimizer.step()
    assert (numbers(net)[0].abs() <= 1).all()
    assert not torch.equal(before, numbers(net)[0])


def test_weights_survive_storage_copies_and_a_new_start():
    net, x = Recurrent("lru", I, H), torch.randn(T, B, I)
    other = Recurrent("lru", I, H)
    other.load_state_dict(net.state_dict())
    assert torch.equal(other(x)[0], net(x)[0])
    assert torch.equal(copy.deepcopy(net)(x)[0], net(x)[0])
    net.reset_parameters(torch.Generator().manual_seed(1))
    other.reset_parameters(torch.Generator().manual_seed(1))
    fresh = Recurrent("lru", I, H, generator=torch.Generator().manual_seed(1))
    assert torch.equal(net(x)[0], fresh(x)[0]) and torch.equal(other(x)[0], fresh(x)[0])


def test_an_empty_ring_is_refused():
    with pytest.raises(UserError, match=r"r_min = 0.9 must be below r_max = 0.5"):
        Recurrent("lru", I, H, r_min=0.9, r_max=0.5)
