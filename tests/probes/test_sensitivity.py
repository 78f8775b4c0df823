"""Sensitivity against closed forms, and against one backward pass for every unit and step."""

import math

import numpy as np
import pytest
import torch
from jacobians import B, T, layer, sequence, traced
from torch import Tensor
from unrolled import unroll

from rnnlab.cells import CELLS
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.sensitivity import sensitivity
from rnnlab.probes.tangents import step_tangents, trained
from rnnlab.probes.trace import Block


def derivatives(net: Recurrent, x: Tensor, state: int, t: int) -> dict[str, Tensor]:
    """(S, *shape) of one example's state after step t, by weight: a backward pass for every unit."""
    run = unroll(net, x)
    found: dict[str, list[Tensor]] = {}
    for unit in run.states[t][state][0] + 0 * sum(w.sum() for w in run.weights[0].values()):  # in the graph at least
        for name in run.weights[0]:
            copies = [own[name] for own in run.weights[: t + 1]]
            if copies[0].requires_grad:
                parts = torch.autograd.grad(unit, copies, retain_graph=True, allow_unused=True)
                whole = sum((p for p in parts if p is not None), torch.zeros_like(copies[0]))
                found.setdefault(name, []).append(whole)
    return {name: torch.stack(rows) for name, rows in found.items()}


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_tangents_of_a_step_are_derivatives_times_changes(kind):
    """Of the first step, whose states are constants, in the directions of all weights at once."""
    net, x = layer(kind), sequence(2, 1)
    trace = traced(net, x)
    generator = torch.Generator().manual_seed(2)
    changes = {n: torch.randn(3, *trace.weights[n].shape, generator=generator).double() for n in trained(trace)}
    rows = torch.zeros(1, dtype=torch.long)
    found = step_tangents(trace, Block(rows, rows, 0), changes)
    for i, tangent in enumerate(found):
        slow = derivatives(net, x, i, 0)
        expected = sum(torch.einsum("s...,r...->rs", d, changes[name]) for name, d in slow.items())
        torch.testing.assert_close(tangent[:, 0], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dilation", [1, 2])
def test_random_signs_come_near_the_norm_of_the_whole_derivative(dilation):
    """Relative standard error of a square over 4,000 directions: at most sqrt(2 / 4000) = 2%; five of them."""
    net, x = layer("lstm", dilation=dilation), sequence()
    found = sensitivity(traced(net, x), directions=4000)["log10_sensitivity"]
    for t in (0, 3, T - 1):
        for i, state in enumerate(("h", "c")):
            slow = [derivatives(net, x[:, b : b + 1], i, t) for b in range(B)]
            for name in found.weight.values:
                exact = float(sum(own[name].square().sum() for own in slow) / B)
                estimate = 10 ** float(found.sel(state=state, weight=name)[t])
                assert estimate == pytest.approx(exact, rel=0.12, abs=1e-14)


@pytest.mark.parametrize("decay", [0.3, 0.9])
def test_white_noise_into_a_linear_unit_gives_the_closed_form(decay):
    """Impulses, one step each, into units of their own: their squares add up to the expectation over white noise."""
    steps = int(18 / (1 - decay))
    net = Recurrent("indrnn", steps, steps, activation="identity", growth=None, bias=False, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("weight_ih_l0").copy_(torch.eye(steps))
        net.get_parameter("weight_hh_l0").fill_(decay)
    found = sensitivity(traced(net, torch.eye(steps, dtype=torch.float64)[:, None]), directions=1)["log10_sensitivity"]
    expected = math.log10((1 + decay**2) / (1 - decay**2) ** 3)
    assert float(found.sel(weight="weight_hh", state="h")[-1]) == pytest.approx(expected, abs=1e-9)


def test_what_examples_share_has_no_sensitivity_of_its_own():
    net, x = layer("vanilla", norm="batch"), sequence()
    assert sensitivity(traced(net, x)) == {}
    later = sensitivity(traced(net.eval(), x))["log10_sensitivity"].isel(time=slice(1, None))
    assert np.isfinite(later).all()  # the first state is zero, and no recurrent weight matters yet
