"""The unitary cell: its product of factors as a dense matrix, and the gradient norm that it keeps."""

import cmath
import math

import pytest
import torch
from loops import log10_norms
from torch import Tensor

from rnnlab.cells.unitary import UnitaryCell, _permutation
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 25, 3, 3, 5


def matrix(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.complex128)


def dense(net: Recurrent) -> Tensor:
    """D_3 R_2 F⁻¹ D_2 Π R_1 F D_1, each factor written out."""
    w, one = net.weights(), torch.eye(H, dtype=torch.complex128)
    D = [torch.diag(matrix([cmath.exp(1j * a) for a in row])) for row in w.phases.tolist()]
    v = [matrix([[complex(*pair)] for pair in row]) for row in w.reflections.tolist()]
    R = [one - 2 * (k @ k.mH) / (k.mH @ k) for k in v]
    F = matrix([[cmath.exp(-2j * math.pi * j * k / H) / math.sqrt(H) for k in range(H)] for j in range(H)])
    P = one[_permutation(H)]
    return D[2] @ R[1] @ F.mH @ D[1] @ P @ R[0] @ F @ D[0]


def test_the_product_of_factors_is_a_unitary_matrix_and_a_step_follows_the_paper():
    net = Recurrent("unitary", I, H, dtype=torch.float64)
    U, w = dense(net), net.weights()
    torch.testing.assert_close(U @ U.mH, torch.eye(H, dtype=U.dtype), rtol=0, atol=1e-13)
    assert isinstance(net.cell, UnitaryCell)
    torch.testing.assert_close(net.cell.rotate(w, torch.eye(H, dtype=U.dtype)).T, U, rtol=0, atol=1e-13)
    with torch.no_grad():
        w.modrelu_bias.copy_(torch.linspace(-0.4, 0.4, H))
    x, h = torch.randn(T, 1, I, dtype=torch.float64), torch.zeros(H, dtype=U.dtype)
    V = torch.view_as_complex(w.weight_ih.detach().view(H, 2, I).transpose(1, 2).contiguous())
    for x_t, y in zip(x[:, 0], net(x)[0][:, 0], strict=True):
        z = U @ h + V @ x_t.to(U.dtype)
        moduli = [max(0.0, abs(complex(a)) + float(b)) for a, b in zip(z, w.modrelu_bias.detach(), strict=True)]
        h = matrix([cmath.rect(m, cmath.phase(complex(a))) for m, a in zip(moduli, z, strict=True)])
        torch.testing.assert_close(torch.view_as_complex(y.detach().view(H, 2)), h, rtol=0, atol=1e-12)


@pytest.mark.parametrize("trained", [False, True])
def test_without_shift_of_the_modulus_the_gradient_norm_is_the_same_at_every_lag(trained):
    net = Recurrent("unitary", I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    if trained:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        net(x)[0][-1].sum().backward()
        optimizer.step()
        with torch.no_grad():
            assert net.get_parameter("modrelu_bias_l0").any()
            net.get_parameter("modrelu_bias_l0").zero_()
    norms = log10_norms(net, x)
    torch.testing.assert_close(norms, norms[-1].expand_as(norms), rtol=0, atol=1e-10)


def test_silence_has_a_gradient():
    """abs(z) has no derivative at zero; the cell takes none there and stays finite."""
    net = Recurrent("unitary", I, H)
    output, h = net(torch.zeros(3, B, I))
    assert output.shape == (3, B, 2 * H) and h.shape == (1, B, 2 * H)
    output.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
