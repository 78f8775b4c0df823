"""What a record holds back to sum it up later is what it would have been at once."""

import pytest
import torch
import xarray as xr

import rnnlab
from rnnlab.gradients import recorder
from rnnlab.layers.recurrent import Recurrent

T, B, H = 7, 3, 4


def recorded(net: Recurrent, steps: int, at_once: bool) -> xr.Dataset:
    """Three passes, after each of which all that the user may change is changed."""
    generator = torch.Generator().manual_seed(1)
    with rnnlab.record(net, per_example=True) as log:
        for size in (1.0, 1e-3, 0.0):
            x = torch.randn(steps, B, 2, generator=generator)
            start = torch.randn(1, B, H, generator=generator).requires_grad_()
            hx = (start, torch.zeros_like(start)) if net.cell.states == ("h", "c") else start
            y, _ = net(x, hx)
            (size * y).square().sum().backward()
            if at_once:
                assert log.steps
            assert start.grad is not None
            start.grad.fill_(torch.nan)
            for weight in net.parameters():
                assert weight.grad is not None
                weight.grad.fill_(torch.nan)
            y.detach().fill_(torch.nan)
    return log.dataset()


@pytest.mark.parametrize("steps", [T, 300])  # one by one, and by kernels
@pytest.mark.parametrize("cell", ["vanilla", "lstm", "mgu"])
def test_steps_that_wait_are_those_summed_up_at_once(cell: str, steps: int) -> None:
    net = Recurrent(cell, 2, H, generator=torch.Generator().manual_seed(0))
    found = recorded(net, steps, at_once=False)
    assert found.sizes["step"] == 3 and bool(found["log10_start_norm"].notnull().any())
    xr.testing.assert_identical(found, recorded(net, steps, at_once=True))


def test_what_waits_is_summed_up_in_inference_mode() -> None:
    net = Recurrent("vanilla", 2, H)  # so few steps are taken one by one
    with rnnlab.record(net) as log:
        net(torch.randn(T, B, 2))[0].sum().backward()
    with torch.inference_mode():
        assert log.dataset().sizes["step"] == 1


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "HELD", 2 * T * B)
    net = Recurrent("vanilla", 2, H)
    with rnnlab.record(net) as log:
        for passes in range(1, 8):
            net(torch.randn(T, B, 2))[0].sum().backward()
            assert len(log._waiting) == passes % 3
    assert log.dataset().sizes["step"] == 7
