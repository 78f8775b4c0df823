"""The diagonal state space solves its differential equation exactly while inputs are held."""

import math

import pytest
import torch
from loops import log10_norms
from torch import Tensor

from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 12, 3, 2, 5


def numbers(net: Recurrent) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """λ, Δ, B, C and D as the papers have them."""
    p = net.weights().tensors
    log_decay, frequency = p["weight_hh"].detach()
    B_re, B_im = p["weight_ih"].detach().chunk(2)
    C_re, minus_C_im = p["weight_ho"].detach().chunk(2, -1)
    eigenvalues = torch.complex(-log_decay.exp(), frequency)
    return (
        eigenvalues,
        p["step_log"].detach().exp(),
        torch.complex(B_re, B_im),
        torch.complex(C_re, -minus_C_im),
        p["weight_io"].detach(),
    )


@pytest.mark.parametrize("start", ["hippo", "linear", "inverse"])
def test_it_follows_the_papers_unit_by_unit(start):
    net = Recurrent("s5", I, H, start=start, dt_max=1.0, dtype=torch.float64)
    eigenvalues, step, B_, C, D = (t.tolist() for t in numbers(net))
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected = torch.zeros(T, B, H, dtype=torch.float64)
    for b in range(B):
        s = [0j] * H
        for t in range(T):
            x_t = x[t, b].tolist()
            for j in range(H):
                held = torch.tensor(eigenvalues[j] * step[j], dtype=torch.complex128).exp().item()
                drive = sum(B_[j][k] * x_t[k] for k in range(I))
                s[j] = held * s[j] + (held - 1) / eigenvalues[j] * drive
            for j in range(H):
                read = sum(C[j][k] * s[k] for k in range(H))
                expected[t, b, j] = 2 * read.real + sum(D[j][k] * x_t[k] for k in range(I))
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)


def test_a_step_solves_the_equation_and_its_conjugate():
    """All 2H units of the pairs, from the exponential of one real matrix, with the input as a constant of motion."""
    net = Recurrent("s5", I, 1, dt_min=0.3, dt_max=0.3, dtype=torch.float64)
    eigenvalues, step, B_, _, _ = numbers(net)
    re, im = float(eigenvalues.real), float(eigenvalues.imag)
    system = torch.zeros(2 + I, 2 + I, dtype=torch.float64)
    system[:2, :2] = torch.tensor([[re, -im], [im, re]], dtype=torch.float64)
    system[:2, 2:] = torch.cat([B_.real, B_.imag])
    flow = torch.linalg.matrix_exp(float(step) * system)
    x, s = torch.randn(T, 1, I, dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    for t in range(T):
        s = (flow @ torch.cat([s, x[t, 0]]))[:2]
    _, final = net(x)
    torch.testing.assert_close(final[0][0], s, rtol=0, atol=1e-12)


def test_the_gradient_of_a_unit_decays_by_half_its_step_whatever_its_frequency():
    net = Recurrent("s5", I, 1, dtype=torch.float64)
    norms = log10_norms(net, torch.randn(T, B, I, dtype=torch.float64))
    lag = torch.arange(T - 1, -1, -1, dtype=torch.float64).unsqueeze(1)
    rate = -0.5 * float(numbers(net)[1]) * math.log10(math.e)
    torch.testing.assert_close(norms - norms[-1], lag * rate + torch.zeros(T, B), rtol=0, atol=1e-10)


def test_the_hippo_start_takes_the_eigenvalues_of_the_matrix_itself():
    """HiPPO-LegS plus the outer product that makes it normal (Gu et al. 2022, section 2)."""
    net = Recurrent("s5", I, H, dtype=torch.float64)
    n = torch.arange(2 * H, dtype=torch.float64)
    low = torch.tril(torch.sqrt(2 * n[:, None] + 1) * torch.sqrt(2 * n + 1), -1)
    normal = -(low + torch.diag(n + 1)) + torch.sqrt(n[:, None] + 0.5) * torch.sqrt(n + 0.5)
    expected = torch.linalg.eigvals(normal)
    expected = expected[expected.imag > 0]
    found = numbers(net)[0]
    torch.testing.assert_close(found.imag.sort().values, expected.imag.sort().values, rtol=1e-10, atol=0)
    torch.testing.assert_close(expected.real, found.real, rtol=0, atol=1e-10)


def test_small_steps_keep_their_digits():
    """(exp(λΔ) - 1)/λ tends to Δ; the difference alone would leave no digit of a step of 1e-9 in float32."""
    net = Recurrent("s5", 1, H, dt_min=1e-9, dt_max=1e-9)
    with torch.no_grad():
        found = net.cell.project(net.weights(), torch.ones(1, 1, 1))[0, 0]
    torch.testing.assert_close(found, 1e-9 * net.get_parameter("weight_ih_l0")[:, 0].detach(), rtol=1e-5, atol=0)


def test_steps_in_the_wrong_order_are_refused():
    with pytest.raises(UserError, match=r"dt_min = 1.0 is above dt_max = 0.1"):
        Recurrent("s5", I, H, dt_min=1.0)
