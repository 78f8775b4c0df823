"""Gates against the equations written out, and time constants against the decay that they predict."""

from typing import Any

import numpy as np
import pytest
import torch
from pre_activations import pre_activations, traced

from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.gates import gates

T, B, I, H = 6, 4, 3, 5

# All float64: replayed pre-activations are sums over other groupings of rows.
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def layer(kind: str, factor: float = 5.0, **options: Any) -> Any:
    """A layer with weights so large that some gates are open and some are closed."""
    torch.manual_seed(0)
    net = Recurrent(kind, I, H, dtype=torch.float64, **options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(factor)
    return net


@pytest.mark.parametrize(("kind", "names"), [("lstm", ["input", "forget", "output"]), ("gru", ["reset", "update"])])
def test_openness_of_every_gate(kind, names):
    net, x = layer(kind), torch.randn(T, B, I, dtype=torch.float64)
    found = gates(traced(net, x))
    assert set(found["gate_mean"].gate.values) == set(names)
    for name in names:
        value = torch.sigmoid(pre_activations(net, x)[name]).flatten(1)
        own = {key: array.sel(gate=name).values for key, array in found.items() if "gate" in array.dims}
        np.testing.assert_allclose(own["gate_mean"], value.mean(1), **CLOSE)
        np.testing.assert_allclose(own["gate_open_fraction"], (value > 0.9).double().mean(1), **CLOSE)
        np.testing.assert_allclose(own["gate_closed_fraction"], (value < 0.1).double().mean(1), **CLOSE)
        np.testing.assert_allclose(own["log10_gate"], value.log10().mean(1), **CLOSE)
        assert own["gate_open_fraction"].any() and own["gate_closed_fraction"].any()


@pytest.mark.parametrize(("kind", "gate", "sign"), [("lstm", "forget", 1), ("gru", "update", 1), ("mgu", "forget", -1)])
def test_the_time_constant_is_that_of_free_decay(kind, gate, sign):
    """A constant gate f multiplies the old state: 1 - f of it is lost at each step."""
    net = layer(kind, factor=0.0)
    row = net.cell.gates.index(gate) * H
    with torch.no_grad():
        net.bias_ih_l0[row : row + H] = sign * 3.0
    silence, memory = torch.zeros(T, B, I, dtype=torch.float64), torch.ones(1, B, H, dtype=torch.float64)
    found = gates(traced(net, silence))
    _, after = net(silence[:1], (memory, memory) if kind == "lstm" else memory)
    kept = after[-1].flatten()[0]  # of a memory of one, to which the candidate tanh(0) adds nothing
    constant = 10 ** found["log10_time_constant"].values
    np.testing.assert_allclose(constant, 1 / (1 - kept.item()), rtol=1e-12)


def test_gates_that_round_to_their_ends_still_have_logarithms():
    net = layer("lstm", factor=0.0)
    with torch.no_grad():
        net.bias_ih_l0[:H], net.bias_ih_l0[H : 2 * H] = -1000.0, 1000.0
    found = gates(traced(net, torch.zeros(T, B, I, dtype=torch.float64)))
    decades = 1000 / np.log(10)
    np.testing.assert_allclose(found["log10_gate"].sel(gate="input"), -decades, rtol=1e-12)
    np.testing.assert_allclose(found["log10_time_constant"], decades, rtol=1e-12)


@pytest.mark.parametrize("options", [{"dilation": 2}, {"norm": "batch"}, {"zoneout": 0.3}], ids=str)
def test_other_layers_are_measured_everywhere(options):
    found = gates(traced(layer("lstm", **options), torch.randn(T, B, I, dtype=torch.float64)))
    assert all(np.isfinite(array.values).all() for array in found.values())


def test_cells_without_a_gate_have_none():
    assert gates(traced(layer("vanilla"), torch.randn(T, B, I, dtype=torch.float64))) == {}
    without = gates(traced(layer("lstm", forget_gate=False), torch.randn(T, B, I, dtype=torch.float64)))
    assert "log10_time_constant" not in without and set(without["gate_mean"].gate.values) == {"input", "output"}
