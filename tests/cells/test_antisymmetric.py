"""The antisymmetric cell against its equations, and the eigenvalues that it is made for."""

import math

import pytest
import torch
from loops import dot, run, weights_of

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 6, 3, 3, 4
EPSILON, GAMMA = 0.3, 0.2


def cell(gated: bool) -> Recurrent:
    return Recurrent("antisymmetric", I, H, gated=gated, epsilon=EPSILON, gamma=GAMMA, dtype=torch.float64)


@pytest.mark.parametrize("gated", [False, True])
def test_it_follows_the_paper_unit_by_unit(gated):
    net = cell(gated)
    p = weights_of(net)
    W = p["weight_hh"]
    A = [[W[j][k] - W[k][j] - (GAMMA if j == k else 0.0) for k in range(H)] for j in range(H)]

    def step(x, states):
        (h,) = states
        new = []
        for j in range(H):
            z, n = (j, H + j) if gated else (None, j)
            v = dot(A[j], h)
            change = math.tanh(v + dot(p["weight_ih"][n], x) + p["bias_ih"][n])
            if z is not None:
                change /= 1 + math.exp(-v - dot(p["weight_ih"][z], x) - p["bias_ih"][z])
            new.append(h[j] + EPSILON * change)
        return (new,)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


def drawn(seed: int) -> torch.Tensor:
    return torch.randn(H, H, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


RECURRENT = [
    *(drawn(seed) for seed in range(5)),
    torch.block_diag(*[drawn(5)[:2, :2]] * 2),  # every frequency twice
    drawn(6) + drawn(6).T,  # antisymmetric part zero: nothing turns
]


@pytest.mark.parametrize("W", RECURRENT, ids=[*map(str, range(5)), "twice", "symmetric"])
@pytest.mark.parametrize("gated", [False, True])
def test_near_zero_a_step_turns_each_mode_and_shrinks_it_by_gamma_alone(gated, W):
    """The Jacobian's eigenvalues there are 1 + ε z (-γ ± i ω), with z = 1/2 for the gate without bias."""
    net = cell(gated)
    with torch.no_grad():
        net.get_parameter("bias_ih_l0").zero_()
        net.get_parameter("weight_hh_l0").copy_(W)
    x = torch.zeros(1, 1, I, dtype=torch.float64)
    J = torch.autograd.functional.jacobian(lambda h: net(x, h.view(1, 1, H))[1].view(H), torch.zeros(H).double())
    found, step = torch.linalg.eigvals(J), EPSILON * (0.5 if gated else 1.0)
    frequencies = torch.linalg.eigvalsh(1j * (W.T - W))  # ascending, those of W - W^T times -i
    torch.testing.assert_close(found.real, torch.full((H,), 1 - step * GAMMA, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(found.imag.sort()[0], step * frequencies, rtol=0, atol=1e-12)
