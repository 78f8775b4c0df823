"""Linear oscillators: one scheme forgets, the other keeps volumes."""

import pytest
import torch

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 20, 3, 2, 5


@pytest.mark.parametrize("scheme", ["im", "imex"])
def test_it_follows_the_paper_unit_by_unit(scheme):
    """The paper's matrices in (z, y): M⁻¹ (s + F) for the implicit scheme, M s + F for the other."""
    net = Recurrent("linoss", I, H, scheme=scheme, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0")[0] = -0.3  # cut off: no spring
    p = {name: value.detach() for name, value in net.weights().tensors.items()}
    stiffness, step = p["weight_hh"].clamp(min=0).tolist(), p["step_logit"].sigmoid().tolist()
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected = torch.zeros(T, B, H, dtype=torch.float64)
    for b in range(B):
        y = torch.zeros(H, dtype=torch.float64)
        velocity = [0.0] * H
        for t in range(T):
            for j in range(H):
                A, dt, force = stiffness[j], step[j], float(p["weight_ih"][j] @ x[t, b])
                before = torch.tensor([velocity[j], float(y[j])], dtype=torch.float64)
                if scheme == "im":
                    M = torch.tensor([[1.0, dt * A], [-dt, 1.0]], dtype=torch.float64)
                    after = torch.linalg.solve(M, before + torch.tensor([dt * force, 0.0], dtype=torch.float64))
                else:
                    M = torch.tensor([[1.0, -dt * A], [dt, 1 - dt**2 * A]], dtype=torch.float64)
                    after = M @ before + torch.tensor([dt * force, dt**2 * force], dtype=torch.float64)
                velocity[j], y[j] = after.tolist()
            expected[t, b] = p["weight_ho"] @ y + p["weight_io"] @ x[t, b]
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scheme", ["im", "imex"])
def test_eigenvalues_of_a_step(scheme):
    net = Recurrent("linoss", I, 1, scheme=scheme, dtype=torch.float64)
    w, u = net.weights(), torch.zeros(1, 1, dtype=torch.float64)

    def step(both):
        return torch.cat(net.cell.step(w, u, (both[:1, None], both[1:, None]), 0)).squeeze(1)

    jacobian = torch.autograd.functional.jacobian(step, torch.zeros(2, dtype=torch.float64))
    squeezed = (w.step_logit.sigmoid() ** 2 * w.weight_hh).item()
    modulus = 1.0 if scheme == "imex" else (1 + squeezed) ** -0.5
    torch.testing.assert_close(
        torch.linalg.eigvals(jacobian).abs(), torch.full((2,), modulus, dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_an_undriven_oscillator_swings_for_ever_in_the_scheme_that_keeps_volumes():
    """z² + A h² - Δ A h z is conserved exactly."""
    net = Recurrent("linoss", I, H, scheme="imex", dtype=torch.float64)
    w = net.weights()
    A, dt = w.weight_hh.detach(), w.step_logit.detach().sigmoid()
    start = (torch.randn(1, H, dtype=torch.float64), torch.randn(1, H, dtype=torch.float64))
    _, (h, z) = net(torch.zeros(1000, 1, I, dtype=torch.float64), tuple(s.unsqueeze(0) for s in start))
    energies = [s[1] ** 2 + A * s[0] ** 2 - dt * A * s[0] * s[1] for s in (start, (h[0], z[0]))]
    torch.testing.assert_close(energies[1], energies[0], rtol=1e-10, atol=0)
