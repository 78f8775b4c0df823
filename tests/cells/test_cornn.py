"""Coupled oscillators, against the paper's discretisation unit by unit, and their energy bound."""

import math

import pytest
import torch
from loops import dot, run, weights_of

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 7, 3, 2, 4


@pytest.mark.parametrize("damping", ["explicit", "implicit"])
def test_it_follows_the_papers_discretisation_unit_by_unit(damping):
    dt, gamma, epsilon = 0.3, 1.7, 0.9
    net = Recurrent("cornn", I, H, dt=dt, gamma=gamma, epsilon=epsilon, damping=damping, dtype=torch.float64)
    p = weights_of(net)

    def step(x, states):
        y_old, z_old = states
        y, z = [0.0] * H, [0.0] * H
        for j in range(H):
            a = dot(p["weight_ih"][j], x) + p["bias_ih"][j]
            a += dot(p["weight_hh"][j], y_old) + dot(p["weight_hh_z"][j], z_old)
            z[j] = z_old[j] + dt * math.tanh(a) - dt * gamma * y_old[j]
            z[j] = z[j] / (1 + dt * epsilon) if damping == "implicit" else z[j] - dt * epsilon * z_old[j]
            y[j] = y_old[j] + dt * z[j]
        return y, z

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H, H), rtol=0, atol=1e-12)


@pytest.mark.parametrize("dt", [0.05, 0.5, 1.0])
def test_the_energy_of_every_unit_grows_by_dt_a_step_at_most(dt):
    """Each step adds Δt (tanh² - (z - tanh)² - (1 - Δt) z²) less a square to h² + z², so Δt at most."""
    torch.manual_seed(0)
    net = Recurrent("cornn", I, H, dt=dt, gamma=1, epsilon=1, damping="implicit", dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(20)  # driven into saturation, where the bound is tight
    states = None
    for n in range(1, 201):
        h, states = net(torch.ones(1, B, I, dtype=torch.float64), states)
        energy = h[0] ** 2 + states[1][0] ** 2
        assert (energy <= n * dt).all()
        if n == 1:
            assert (energy > 0.3 * dt**2).all()  # the bound is not idle: tanh is near 1 and z near Δt / (1 + Δt)


def test_an_undriven_oscillator_turns_at_its_own_frequency():
    """Without weights and damping, h'' = -γ h: after a period 2π/√γ the state is back."""
    gamma, dt = 4.0, 1e-3
    net = Recurrent("cornn", 1, 1, dt=dt, gamma=gamma, epsilon=0, dtype=torch.float64)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
        start = torch.ones(1, 1, 1, dtype=torch.float64)
        steps = round(math.tau / math.sqrt(gamma) / dt)
        h, (_, z) = net(torch.zeros(steps, 1, 1, dtype=torch.float64), (start, torch.zeros_like(start)))
    assert float(h[steps // 2]) == pytest.approx(-1, abs=2 * dt)  # a first-order scheme, so an error of order Δt
    assert float(h[-1]) == pytest.approx(1, abs=2 * dt)
    assert float(z) == pytest.approx(0, abs=20 * dt)
