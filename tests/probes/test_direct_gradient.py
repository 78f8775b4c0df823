"""The direct gradient is the partial of the loss in a state as an output only."""

from typing import Any

import numpy as np
import pytest
import torch
from unrolled import last_step, unroll

from rnnlab.cells import CELLS
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.direct_gradient import direct_gradient
from rnnlab.probes.tape import trace

T, B, I, H = 6, 4, 3, 5


def layer(kind: str, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(kind, I, H, dtype=torch.float64, **options)


@pytest.mark.parametrize("options", [{}, {"bidirectional": True}], ids=str)
@pytest.mark.parametrize("kind", sorted(CELLS))
def test_states_that_are_cut_loose_see_the_direct_gradient_alone(kind, options):
    net = layer(kind, **options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with trace(net) as tape:
        output, _ = net(x)
        output.sin().sum().backward()
    for found in tape.traces:
        forward = found.direction == "forward"
        loop = unroll(_one_way(net, found.direction), x if forward else x.flip(0))
        states = torch.stack([s[0].detach() for s in loop.states]).requires_grad_()
        emitted = net.cell.emit(net.weights(0, found.direction), states, x if forward else x.flip(0))
        (gradient,) = torch.autograd.grad(emitted.sin().sum(), states)
        expected = gradient.norm(dim=-1).log10().mean(1).numpy()
        measured = direct_gradient(found)["log10_direct_norm"].isel(state=0).values
        np.testing.assert_allclose(measured, expected if forward else expected[::-1], rtol=1e-10)


def _one_way(net: Recurrent, direction: str) -> Recurrent:
    """The forward layer that has the weights of one direction."""
    alone = Recurrent(net.cell, I, dtype=torch.float64)
    suffix = "_reverse" if direction == "reverse" else ""
    own = {name: value for name, value in net.state_dict().items()}
    alone.load_state_dict({name: own[name.replace("_l0", "_l0" + suffix)] for name in alone.state_dict()})
    return alone


def test_a_loss_at_the_last_step_enters_there_alone():
    net = layer("lstm")
    with trace(net) as tape:
        last_step(net(torch.randn(T, B, I, dtype=torch.float64))[0], ()).backward()
    found = direct_gradient(tape.traces[0])
    zero = found["direct_norm_zero_fraction"]
    assert zero.sel(state="h").values.tolist() == [1.0] * (T - 1) + [0.0]
    assert (zero.sel(state="c") == 1).all()
    assert np.isneginf(found["log10_direct_norm"].sel(state="h")[:-1]).all()


def test_final_states_are_outputs_too():
    net = layer("lstm")
    with trace(net) as tape:
        _, (_, c) = net(torch.randn(T, B, I, dtype=torch.float64))
        (3 * c).sum().backward()
    found = direct_gradient(tape.traces[0])["log10_direct_norm"].sel(state="c").values
    assert found[-1] == pytest.approx(np.log10(3 * H**0.5), abs=1e-12)
    assert np.isneginf(found[:-1]).all()
