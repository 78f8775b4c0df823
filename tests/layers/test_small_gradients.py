"""Norms of every layer of a stack, far below the smallest number of its dtype."""

import math
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnlab
from rnnlab import Recurrent
from rnnlab.scan.native.build import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")


def linear(*slopes: float, **options: Any) -> Recurrent:
    """Layers h_t = slope h_{t-1} + x_t."""
    net = Recurrent("vanilla", 4, 4, num_layers=len(slopes), activation="identity", bias=False, **options)
    with torch.no_grad():
        for layer, slope in enumerate(slopes):
            net.get_parameter(f"weight_ih_l{layer}").copy_(torch.eye(4))
            net.get_parameter(f"weight_hh_l{layer}").copy_(slope * torch.eye(4))
    return net


def norms(model: nn.Module, run: Any) -> np.ndarray:
    """(layer, direction, state, time, example) log10 norms of one pass."""
    with rnnlab.record(model, per_example=True) as log:
        run().backward()
    return log.dataset()["log10_grad_norm_per_example"].values[0]


def last(net: nn.Module, x: Tensor, **arguments: Any) -> Tensor:
    return net(x, **arguments)[0][-1].sum()


def two_rates(lag: np.ndarray, upper: float = 0.8, lower: float = 0.5) -> np.ndarray:
    """log10 ‖g‖ in the lower of two linear layers: sum over k of upper^(lag - k) lower^k, in all of 4 units."""
    share = -np.expm1((lag + 1) * math.log(lower / upper))
    return math.log10(2) + lag * math.log10(upper) + np.log10(share * upper / (upper - lower))


@pytest.mark.parametrize("every", [None, 25, 37])
def test_two_linear_layers_lose_what_their_rates_say(every):
    T = 600
    net = linear(0.5, 0.8, checkpoint_every=every)
    found = norms(net, lambda: last(net, torch.randn(T, 2, 4)))[:, 0, 0]
    lag = np.arange(T)[::-1]
    assert two_rates(np.array(599)) == pytest.approx(-57.32, abs=0.01)
    np.testing.assert_allclose(found[1], (math.log10(2) + lag * math.log10(0.8))[:, None].repeat(2, 1), atol=1e-4)
    np.testing.assert_allclose(found[0], two_rates(lag)[:, None].repeat(2, 1), atol=1e-4)


def test_a_sequence_fed_in_pieces_is_one_sequence():
    net, x = linear(0.5, 0.8), torch.randn(600, 2, 4)

    def run() -> Tensor:
        h, y = None, x
        for start in range(0, 600, 150):
            y, h = net(x[start : start + 150], h, start=start)
        return y[-1].sum()

    whole, pieces = norms(net, lambda: last(net, x)), norms(net, run)
    np.testing.assert_allclose(pieces.reshape(whole.shape), whole, atol=1e-4)


def test_a_state_whose_gradient_somebody_cuts_off_hands_none_on():
    net, x = linear(0.5, 0.8), torch.randn(2, 300, 2, 4)
    with rnnlab.record(net) as log:
        _, h = net(x[0])
        h.register_hook(torch.zeros_like)
        net(x[1], h, start=300)[0][-1].sum().backward()
    zero = log.dataset()["zero_fraction"].values[0, :, 0, 0]
    assert (zero[:, :300] == 1).all() and (zero[:, 300:] == 0).all()


CASES = {
    "two layers": {},
    "three layers": {"num_layers": 3},
    "directions": {"bidirectional": True},
    "residual": {"num_layers": 3, "residual_layers": True},
    "dropout": {"dropout": 0.4},
    "segments": {"checkpoint_every": 30},
    "all": {"num_layers": 3, "bidirectional": True, "dropout": 0.4, "residual_layers": True, "checkpoint_every": 30},
}


@pytest.mark.parametrize("cell", ["vanilla", "lstm", "gru"])
@pytest.mark.parametrize("case", CASES)
def test_float32_says_what_float64_says(cell, case):
    """Float64 itself reaches 1e-300; single units add up to norms that differ by rounding alone."""
    T, lengths = 90, [90, 61, 90]
    net = Recurrent(cell, 3, 9, init=None, **{"num_layers": 2} | CASES[case])
    wide = Recurrent(cell, 3, 9, dtype=torch.float64, **{"num_layers": 2} | CASES[case])
    with torch.no_grad():
        for name, p in net.named_parameters():  # forget fast
            p.mul_(0.1 if "weight_hh" in name else 1).sub_(2.5 if "bias_hh" in name and cell != "vanilla" else 0)
    wide.load_state_dict(net.state_dict())
    x = torch.randn(T, 3, 3)

    def run(model: Recurrent, x: Tensor) -> Tensor:
        torch.manual_seed(7)
        y, _ = model(x, lengths=lengths)
        return sum((y[n - 1, b, : model.cell.output_size].sum() for b, n in enumerate(lengths)), torch.zeros(()))

    found, expected = norms(net, partial(run, net, x)), norms(wide, partial(run, wide, x.double()))
    assert np.nanmin(expected[0][np.isfinite(expected[0])]) < -50
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_the_gradient_of_a_weight_knows_nothing_of_who_watches():
    """Down to the last bit, where the lower layer's inputs are those of the steps at which its gradient underflows."""
    net, x = linear(0.5, 0.8), torch.zeros(600, 2, 4)
    x[195:215] = torch.randn(20, 2, 4)

    def gradients() -> list[Tensor]:
        net.zero_grad()
        last(net, x).backward()
        return [p.grad.clone() for p in net.parameters() if p.grad is not None]

    alone = gradients()
    with rnnlab.record(net):
        watched = gradients()
    assert all(torch.equal(a, b) for a, b in zip(alone, watched, strict=True))


def test_what_was_lost_between_two_networks_is_not_measured():
    """A foreign operation carries float32 alone: what is left is right, or NaN and counted, and never zero."""
    T, lag = 600, np.arange(600)[::-1]
    lower, upper = linear(0.5), linear(0.8)
    both = nn.ModuleList([lower, upper])
    with rnnlab.record(both) as log:
        upper(lower(torch.randn(T, 2, 4))[0] * 1.0)[0][-1].sum().backward()
    ds = log.dataset()
    found, lost = (ds[name].values[0, :, 0, 0] for name in ("log10_grad_norm", "underflowed_fraction"))
    measured = np.isfinite(found[0])
    assert measured.sum() == pytest.approx(-31 / math.log10(0.8), abs=10)
    np.testing.assert_allclose(found[0][measured], two_rates(lag)[measured], atol=1e-4)
    np.testing.assert_array_equal(lost, np.stack([~measured, np.zeros(T)]))
    assert np.isfinite(found[1]).all() and not ds["zero_fraction"].values[0, 1].any()


@pytest.mark.parametrize("stop", [600, 400])
def test_the_reference_scan_tells_zero_from_what_underflowed(stop, monkeypatch):
    """It ends at the smallest normal number; the steps after the loss are zero all the same."""
    monkeypatch.setattr("rnnlab.scan.compiled.supports", lambda *_: False)
    net = Recurrent("indrnn", 4, 4)
    with torch.no_grad():
        for p in net.parameters():
            p.fill_(0.5)
    x = torch.zeros(600, 2, 4)
    with rnnlab.record(net) as log:
        net(x)[0][stop - 1].sum().backward()
    ds = log.dataset().isel(step=0, layer=0, direction=0, state=0)
    found, zero, lost = (ds[n].values for n in ("log10_grad_norm", "zero_fraction", "underflowed_fraction"))
    assert found[np.isfinite(found)].min() > -38.3 and lost[: stop - 150].all() and not lost[stop - 20 :].any()
    assert np.isnan(zero[lost == 1]).all() and (zero[stop:] == 1).all() and not zero[stop - 20 : stop].any()
