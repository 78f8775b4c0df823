"""Jacobians of single steps against a loop under autograd and against closed forms."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from jacobians import B, T, layer, linear, orthogonal, sequence, slow_jacobians, traced
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from rnnlab.cells import CELLS
from rnnlab.probes.jacobian import EXAMPLES, POINTS, jacobian
from rnnlab.probes.tape import trace

# float64 throughout: two ways of differentiating agree to a few ulp; eigenvalues lose some digits more.
CLOSE: dict[str, Any] = {"rtol": 1e-8, "atol": 1e-8}


def norm(J: Tensor) -> float:
    return math.log10(torch.linalg.svdvals(J)[0])


def radius(J: Tensor) -> float:
    return math.log10(torch.linalg.eigvals(J).abs().max())


def check(found: dict[str, Any], slow: list[list[Tensor]]) -> None:
    """Compare with Jacobians by example and step."""
    for name, size in {"log10_spectral_norm": norm, "log10_spectral_radius": radius}.items():
        for t in range(T):
            logs = [size(own[t]) for own in slow if t < len(own)]
            assert float(found[name][t]) == pytest.approx(sum(logs) / len(logs), rel=1e-8, abs=1e-8)
            assert float(found[f"{name}_min"][t]) == pytest.approx(min(logs), rel=1e-8, abs=1e-8)
            assert float(found[f"{name}_max"][t]) == pytest.approx(max(logs), rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_every_cell_against_a_loop(kind):
    net, x = layer(kind), sequence()
    check(jacobian(traced(net, x)), [slow_jacobians(net, x[:, b : b + 1]) for b in range(B)])


@pytest.mark.parametrize("options", [{"dilation": 3}, {"zoneout": 0.3}, {"norm": "batch"}, {"norm": "layer"}], ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_dilated_zoned_out_and_normalised_layers(kind, options):
    net, x = layer(kind, **options).eval(), sequence()
    check(jacobian(traced(net, x)), [slow_jacobians(net, x[:, b : b + 1]) for b in range(B)])


def test_padded_examples_in_both_directions():
    net = layer("gru", bidirectional=True)
    sequences = [sequence(n, 1)[:, 0] for n in (2, T, 4)]
    with trace(net) as tape:
        net(pack_sequence(sequences, enforce_sorted=False))[0].data.sum().backward()
    forward, reverse = (jacobian(found) for found in tape.traces)
    check(forward, [slow_jacobians(net, x[:, None]) for x in sequences])
    twin = layer("gru")  # reads forwards what the other direction reads backwards
    with torch.no_grad():
        for name, parameter in twin.named_parameters():
            parameter.copy_(getattr(net, f"{name}_reverse"))
    check(reverse, [slow_jacobians(twin, x.flip(0)[:, None])[::-1] for x in sequences])


def test_the_vanilla_jacobian_is_slope_times_recurrent_weights():
    net, x = layer("vanilla"), sequence()
    h = net(x)[0].detach()  # (T, B, H)
    found = jacobian(traced(net, x))["log10_spectral_norm_max"]
    closed = torch.linalg.svdvals((1 - h**2).unsqueeze(-1) * net.weight_hh_l0.detach())[..., 0]  # (T, B)
    np.testing.assert_allclose(found, closed.amax(1).log10(), **CLOSE)


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_a_scaled_orthogonal_recurrence_has_its_scale_as_norm_and_radius(scale):
    found = jacobian(linear(scale * orthogonal(5), T))
    for array in found.values():
        np.testing.assert_allclose(array, math.log10(scale), rtol=1e-13, atol=1e-13)


def test_long_sequences_are_sampled_and_large_batches_cut():
    found = jacobian(traced(layer("vanilla"), sequence(3 * POINTS, 2)))["log10_spectral_norm"].values
    measured = np.isfinite(found)
    assert measured.sum() == POINTS and measured[0] and measured[-1]
    assert np.diff(np.flatnonzero(measured)).max() == 4  # evenly: every third or fourth step
    net, x = layer("vanilla"), sequence(T, EXAMPLES + 3)
    check(jacobian(traced(net, x)), [slow_jacobians(net, x[:, b : b + 1]) for b in range(EXAMPLES)])


def test_an_overflown_step_is_not_measured():
    net = layer("vanilla", activation="relu")
    with torch.no_grad():
        net.weight_hh_l0.fill_(torch.inf)
    assert all(np.isnan(array).all() for array in jacobian(traced(net, sequence())).values())


def test_coupled_examples_have_no_jacobian_each():
    assert jacobian(traced(layer("lstm", norm="batch"), sequence())) == {}
