"""What a long training asks of a record: to pause, to count updates, to stay small, to see through a scaler."""

import copy

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor, nn

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 9, 4, 3, 5


def loss_of(net: nn.Module, x: Tensor) -> Tensor:
    return net(x)[0][-1].square().mean()


def norms_of(net: nn.Module, xs: list[Tensor]) -> np.ndarray:
    with rnnlab.record(net) as log:
        for x in xs:
            loss_of(net, x).backward()
    return log.dataset()["log10_grad_norm"].values


def test_what_is_called_while_paused_is_left_alone():
    net, xs = rnnlab.GRU(I, H), list(torch.randn(4, T, B, I))
    with rnnlab.record(net) as log:
        waiting = loss_of(net, xs[0])
        log.pause()
        waiting.backward()  # called before
        loss_of(net, xs[1]).backward()
        log.pause()
        log.resume()
        log.resume()
        for x in xs[2:]:
            loss_of(net, x).backward()
        log.pause()
    assert not net.observers
    np.testing.assert_array_equal(log.dataset()["log10_grad_norm"], norms_of(net, [xs[0], *xs[2:]]))


def test_steps_are_counted_by_the_optimiser_where_one_is_given():
    net = rnnlab.LSTM(I, H)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    with rnnlab.record(net, optimizer=optimizer, every=2) as log:
        for _ in range(5):
            for _ in range(2):  # gradients of two batches make one update
                loss_of(net, torch.randn(T, B, I)).backward()
            optimizer.step()
    optimizer.step()
    assert log.dataset()["train_step"].values.tolist() == [0, 0, 2, 2, 4, 4]


def test_the_factor_of_a_scaler_is_taken_back():
    net, x = rnnlab.LSTM(I, H), torch.randn(T, B, I)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**14, growth_interval=1)
    optimizer = torch.optim.SGD(net.parameters(), 0.0)
    with rnnlab.record(net, scaler=scaler) as log:
        for _ in range(3):  # each of which doubles it
            optimizer.zero_grad()
            scaler.scale(loss_of(net, x)).backward()
            scaler.step(optimizer)
            scaler.update()
    assert scaler.get_scale() == 2.0**17
    expected = norms_of(net, [x] * 3)
    np.testing.assert_allclose(log.dataset()["log10_grad_norm"], expected, atol=1e-5)


def test_a_record_in_a_folder_is_that_in_memory_and_keeps_little_there(tmp_path, monkeypatch):
    monkeypatch.setattr("rnnlab.gradients.recorder.STEPS", 3)
    net, kept = Recurrent("lstm", I, H), []
    twin = copy.deepcopy(net)
    folder = tmp_path / "run" / "gradients"
    with rnnlab.record(net, folder=folder) as log, rnnlab.record(twin) as plain:
        for k in range(8):
            x = torch.randn(T + k % 2, B, I)
            for each in (net, twin):
                loss_of(each, x).backward()
            kept.append(len(log.steps))
        np.testing.assert_array_equal(log.dataset()["step"], range(8))
    assert max(kept) == 3 and not log.steps
    assert [path.name for path in sorted(folder.iterdir())] == [f"steps-{k:09d}.nc" for k in (0, 3, 6)]
    xr.testing.assert_allclose(log.dataset(), plain.dataset(), rtol=1e-6)
    with pytest.raises(UserError, match="holds a record already"), rnnlab.record(net, folder=folder):
        pass
    assert not net.observers


@pytest.mark.parametrize(
    ("cell", "options"),
    [("lstm", {"num_layers": 2}), ("indrnn", {}), ("gru", {"bidirectional": True}), ("vanilla", {"dilation": 3})],
)
def test_the_gradient_of_the_state_before_the_first_step_is_recorded(cell, options):
    """What truncation cuts off."""
    net = Recurrent(cell, I, H, dtype=torch.float64, **options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    rows, layers, d = sum(net.dilation) * len(net.directions), net.num_layers, net.dilation[0]
    hx = tuple(torch.randn(rows, B, H, dtype=torch.float64, requires_grad=True) for _ in net.cell.states)
    with rnnlab.record(net) as log:
        y, states = net(x[:5], hx)
        states = tuple(s.detach() for s in (states if isinstance(states, tuple) else (states,)))
        (y[-1].sum() + net(x[5:], states, start=5)[0][-1].square().sum()).backward()
    found = log.dataset()["log10_start_norm"].isel(step=0)
    leaves = [s.requires_grad_() for s in states]
    second = torch.autograd.grad(net(x[5:], leaves, start=5)[0][-1].square().sum(), leaves, allow_unused=True)
    for i, name in enumerate(net.cell.states):
        for layer in range(layers):
            for j, direction in enumerate(net.directions):
                row = (layer * len(net.directions) + j) * d
                got = found.isel(layer=layer).sel(direction=direction, state=name).values
                places = {0: hx[i].grad, 5: second[i]} if direction == "forward" else {4: hx[i].grad, T - 1: second[i]}
                assert np.flatnonzero(~np.isnan(got)).tolist() == list(places)
                for place, gradient in places.items():
                    assert gradient is not None
                    norms = gradient[row : row + d].transpose(0, 1).flatten(1).norm(dim=-1)
                    assert got[place] == pytest.approx(float(norms[norms > 0].log10().mean()), abs=1e-10)


@pytest.mark.parametrize("kernel", [True, False])
def test_a_start_that_float32_cannot_hold_is_not_called_zero(kernel, monkeypatch):
    if not kernel:
        monkeypatch.setattr("rnnlab.scan.native.supports", lambda *_: False)
    net = Recurrent("vanilla", 1, 1, activation="identity")
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").fill_(0.1)
    with rnnlab.record(net) as log:
        for steps in (20, 38, 60):
            net(torch.zeros(steps, 1, 1))[0][-1].sum().backward()
        net.get_parameter("weight_hh_l0").data.fill_(0.0)
        net(torch.zeros(20, 1, 1))[0][-1].sum().backward()
    found = log.dataset()["log10_start_norm"].isel(time=0).values.ravel()
    np.testing.assert_allclose(found, [-20, np.nan, np.nan, -np.inf], atol=1e-4)
