"""Blocks of the Jacobian against a loop under autograd, and against the LSTM's equations by hand."""

import numpy as np
import pytest
import torch
from jacobians import B, T, layer, sequence, slow_jacobians, traced

from rnnlab.cells import CELLS
from rnnlab.probes.jacobian_blocks import jacobian_blocks

SEVERAL = sorted(kind for kind in CELLS if len(layer(kind).cell.states) > 1)


@pytest.mark.parametrize("kind", SEVERAL)
def test_every_cell_of_several_states_against_a_loop(kind):
    net, x = layer(kind), sequence()
    found = jacobian_blocks(traced(net, x))["log10_block_norm"]
    slow, sizes, names = [slow_jacobians(net, x[:, b : b + 1]) for b in range(B)], net.cell.state_sizes, net.cell.states
    starts = np.cumsum([0, *sizes])
    for i, new in enumerate(names):
        for j, old in enumerate(names):
            for t in range(T):
                parts = [own[t][starts[i] : starts[i + 1], starts[j] : starts[j + 1]] for own in slow]
                norms = torch.stack([torch.linalg.svdvals(part)[0] for part in parts])
                mean = float(norms[norms > 0].log10().mean()) if norms.any() else -np.inf
                assert float(found.sel(block=f"{old}→{new}")[t]) == pytest.approx(mean, rel=1e-8)


def test_the_cell_state_of_an_lstm_reaches_the_next_one_through_the_forget_gate_alone():
    net, x = layer("lstm"), sequence()
    found = jacobian_blocks(traced(net, x))["log10_block_norm"]
    h = c = torch.zeros(B, 4, dtype=torch.float64)
    for t in range(T):
        z = x[t] @ net.weight_ih_l0.T + h @ net.weight_hh_l0.T + net.bias_ih_l0 + net.bias_hh_l0
        i, f, g, o = z.chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        through_output = f.sigmoid() * o.sigmoid() * (1 - c.tanh() ** 2)
        for block, factors in (("c→c", f.sigmoid()), ("c→h", through_output)):
            expected = factors.amax(-1).log10().mean().item()
            assert float(found.sel(block=block)[t]) == pytest.approx(expected, rel=1e-9)


def test_a_cell_of_one_state_has_no_blocks():
    assert jacobian_blocks(traced(layer("gru"), sequence())) == {}
