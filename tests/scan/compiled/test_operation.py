"""A compiled step gives what the reference scan gives: outputs, every gradient, and norms of any size."""

import pytest
import torch
from compiled_calls import CELLS, Both, Log, draw, layer
from torch import Tensor

import rnnlab
from rnnlab.cells.activations import ACTIVATIONS
from rnnlab.scan import compiled, reference
from rnnlab.scan.native.build import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")


@pytest.mark.parametrize(("kind", "options"), CELLS, ids=str)
def test_it_is_the_reference_scan(kind, options):
    net = layer(kind, **options)
    x = draw(12, 5, 3)
    Both(net, x).check()
    Both(net, x, sizes=[5, 5, 5, 5, 4, 4, 4, 3, 2, 2, 2, 2]).check()
    Both(net, x.flip(1), scale=1e-200, dilation=2, start=1).check()
    Both(layer(kind, 1, 5, 10, **options), draw(10, 3, 1), scale=1e200).check()
    if net.cell.zoneout or net.cell.couples_examples:
        Both(net.eval(), x).check()


@pytest.mark.parametrize("activation", [*ACTIVATIONS, "modrelu"])
def test_every_activation(activation):
    net = layer("vanilla", activation=activation, residual=0.5)
    Both(net, 2 * draw(12, 5, 3)).check()


def test_norms_have_no_floor():
    net = layer("indrnn", 1, 3, activation="identity", growth=None).float()
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").fill_(0.1)
    x = torch.zeros(1001, 2, 1)
    with rnnlab.record(net) as log:
        net(x)[0][-1].sum().backward()
    found = torch.from_numpy(log.dataset().log10_grad_norm.squeeze().values)
    expected = torch.arange(-1000, 1) + torch.tensor(3.0).sqrt().log10()
    assert (found - expected).abs().max() < 1e-3


@pytest.mark.parametrize(("kind", "options"), [("lem", {}), ("gru", {"norm": "layer"}), ("skip", {"span": 2})], ids=str)
def test_second_derivatives(kind, options):
    net = layer(kind, 2, 3, **options)
    x, states = (
        draw(10, 2, 2).requires_grad_(),
        tuple(draw(*s.shape) for s in net.cell.initial_states(2, draw(1, 2, 2))),
    )
    w = {name: t.detach().clone().requires_grad_() for name, t in net.weights().tensors.items()}

    def run(x: Tensor, *tensors: Tensor) -> Tensor:
        weights = net.weights()
        weights.tensors |= dict(zip(w, tensors, strict=True))
        return compiled.run(net.cell, weights, x, [states], 0)[0]

    assert torch.autograd.gradcheck(run, (x, *w.values()), fast_mode=True)
    assert torch.autograd.gradgradcheck(run, (x, *w.values()), atol=1e-4, fast_mode=True)


@pytest.mark.parametrize("kind", ["lem", "lstm"])
def test_threads_take_slices_of_the_batch(kind):
    net = layer(kind, 3, 64, peepholes=True) if kind == "lstm" else layer(kind, 3, 64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        Both(net, draw(12, 11, 3)).check()
    finally:
        torch.set_num_threads(before)


def test_without_gradients_nothing_is_kept_and_outputs_are_the_same():
    net, x = layer("lem"), draw(12, 5, 3)
    history = [net.cell.initial_states(5, x)]
    with torch.no_grad():
        y, _ = compiled.run(net.cell, net.weights(), x, history, 0)
        assert not y.requires_grad
        torch.testing.assert_close(y, reference.scan(net.cell, net.weights(), x, history)[0])


def test_frozen_weights_and_inputs_of_any_layout():
    net, x = layer("mgu").requires_grad_(False), draw(3, 5, 12).transpose(0, 2)[:, ::2]
    history = [tuple(s.requires_grad_() for s in net.cell.initial_states(3, x))]
    gradients = []
    for scan in (reference.scan, compiled.run):
        y, _ = scan(net.cell, net.weights(), x, history, 0, [])
        gradients.append(torch.autograd.grad(y.sum(), history[0])[0])
    torch.testing.assert_close(*gradients)


def test_nan_stays_where_it_is():
    net, x = layer("lem"), draw(12, 5, 3)
    x[4, 2] = torch.nan
    log = Log()
    y, _ = compiled.run(net.cell, net.weights(), x, [net.cell.initial_states(5, x)], 0, [log])  # type: ignore[list-item]
    y.nan_to_num().sum().backward()
    rows = [r for r in range(5) if r != 2]
    assert y[:, rows].isfinite().all() and y[4:, 2].isnan().all() and log.log2["h"][:, rows].isfinite().all()
