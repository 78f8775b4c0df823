"""Recorded norms are the true total gradients, and recording changes nothing else."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 12, 5, 3, 4
TOLERANCE = 1e-10  # in log10 of float64 norms that differ by the order of a few sums


def states_of_a_cell_loop(kind: str, layer: nn.Module, x: Tensor) -> dict[str, list[Tensor]]:
    """torch's own cell in a Python loop, keeping the gradient of every state."""
    classes = {"vanilla": nn.RNNCell, "lstm": nn.LSTMCell, "gru": nn.GRUCell}
    cell = classes[kind](I, H, dtype=torch.float64)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in layer.state_dict().items()})
    zero = torch.zeros(B, H, dtype=torch.float64)
    state = (zero, zero) if kind == "lstm" else zero
    kept: dict[str, list[Tensor]] = {"h": [], "c": []}
    for x_t in x:
        state = cell(x_t, state)
        for name, s in zip(("h", "c"), state if kind == "lstm" else (state,), strict=False):
            s.retain_grad()
            kept[name].append(s)
    return {name: values for name, values in kept.items() if values}


@pytest.mark.parametrize("loss", ["last", "every"])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_norms_equal_a_loop_of_torch_cells_with_retain_grad(kind, loss):
    torch.manual_seed(1)
    layer = Recurrent(kind, I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    target = torch.randn(B, H, dtype=torch.float64)

    def criterion(h: Tensor) -> Tensor:
        return ((h[-1:] if loss == "last" else h) - target).square().mean()

    with rnnlab.record(layer, per_example=True) as log:
        criterion(layer(x)[0]).backward()
    measured = log.dataset()["log10_grad_norm_per_example"]
    kept = states_of_a_cell_loop(kind, layer, x)
    criterion(torch.stack(kept["h"])).backward()
    for name, states in kept.items():
        expected = torch.stack([s.grad.norm(dim=-1) for s in states if s.grad is not None]).log10()
        np.testing.assert_allclose(
            measured.sel(state=name, direction="forward").isel(step=0, layer=0).values,
            expected,
            atol=TOLERANCE,
        )


def test_aggregates_are_taken_in_log_space_and_zeros_are_counted():
    layer = rnnlab.RNN(I, H, dtype=torch.float64)
    weight = torch.tensor([0.0, 1.0, 1e-3, 10.0, 0.0], dtype=torch.float64)
    with rnnlab.record(layer, per_example=True) as log:
        (layer(torch.randn(T, B, I, dtype=torch.float64))[0][-1].sum(-1) * weight).sum().backward()
    ds = log.dataset().isel(step=0, layer=0, direction=0, state=0)
    norms = ds["log10_grad_norm_per_example"].values[:, 1:4]
    np.testing.assert_allclose(ds["log10_grad_norm"], norms.mean(1))
    np.testing.assert_allclose(ds["log10_grad_norm_min"], norms.min(1))
    np.testing.assert_allclose(ds["log10_grad_norm_max"], norms.max(1))
    np.testing.assert_allclose(ds["zero_fraction"], 2 / 5)


def test_a_gradient_of_zero_is_not_missing():
    layer = rnnlab.GRU(I, H)
    with rnnlab.record(layer) as log:
        layer(torch.randn(T, B, I))[0][T // 2].sum().backward()
    ds = log.dataset().squeeze()
    assert (ds["zero_fraction"][: T // 2 + 1] == 0).all()
    assert (ds["zero_fraction"][T // 2 + 1 :] == 1).all()
    assert np.isneginf(ds["log10_grad_norm"][T // 2 + 1 :]).all()


@pytest.mark.parametrize("kernel", [True, False])
def test_not_measured_zero_and_not_a_number_stay_apart(kernel, monkeypatch):
    """Five examples: a number, zero, NaN, infinite, and one that ends before."""
    if not kernel:
        monkeypatch.setattr("rnnlab.scan.native.supports", lambda *_: False)
    net, lengths = rnnlab.GRU(I, H), [T, T, T, T, 2]
    weight = torch.tensor([1.0, 0.0, torch.nan, torch.inf, 0.0]).unsqueeze(1)
    with rnnlab.record(net, per_example=True) as log:
        y, _ = net(torch.randn(T, B, I), lengths=lengths)
        y.backward(torch.cat([torch.zeros(T - 1, B, H), weight.expand(1, B, H)]))
    ds = log.dataset().squeeze()
    norms = ds["log10_grad_norm_per_example"].values
    for t in range(T):
        measured = 5 if t < 2 else 4
        assert ds["nan_fraction"][t] == pytest.approx(2 / measured)
        assert ds["zero_fraction"][t] == pytest.approx((measured - 3) / measured)
        assert np.isfinite(norms[t, 0]) and ds["log10_grad_norm"][t] == pytest.approx(norms[t, 0])
    assert not np.isposinf(norms).any()
    with rnnlab.record(net) as log:
        net(torch.randn(T, B, I))[0].backward(torch.full((T, B, H), torch.nan))
    broken = log.dataset().squeeze()
    assert (broken["nan_fraction"] == 1).all() and (broken["zero_fraction"] == 0).all()
    assert np.isnan(broken["log10_grad_norm"]).all()


@pytest.mark.parametrize("rho", [0.5, 0.9, 1.0, 1.1])
def test_scaled_orthogonal_linear_recurrence_has_slope_log10_rho(rho):
    """Saxe et al. 2014: W = ρQ multiplies the norm by exactly ρ every step back."""
    init = rnnlab.layers.initialization.Initialization(recurrent="orthogonal", recurrent_scale=rho)
    layer = Recurrent("vanilla", I, 32, activation="identity", init=init, dtype=torch.float64)
    with rnnlab.record(layer) as log:
        layer(torch.randn(300, B, I, dtype=torch.float64))[0][-1].square().sum().backward()
    profile = log.dataset()["log10_grad_norm_by_lag"].squeeze()
    decay = rnnlab.fit_decay(profile.values, profile["lag"].values)
    assert decay.slope == pytest.approx(np.log10(rho), abs=1e-12)  # QR leaves Q orthogonal to 1e-15
    np.testing.assert_allclose(np.diff(profile.values), np.log10(rho), atol=1e-12)


def test_norms_far_below_what_float32_can_square():
    """At slope log10 ½ the float32 gradient reaches 1e-30, whose square is no float32."""
    layer = Recurrent(
        "vanilla",
        I,
        8,
        activation="identity",
        init=rnnlab.layers.initialization.Initialization(recurrent="identity", recurrent_scale=0.5),
    )
    with rnnlab.record(layer) as log:
        layer(torch.randn(100, 1, I))[0][-1].sum().backward()
    profile = log.dataset()["log10_grad_norm_by_lag"].squeeze()
    expected = np.log10(8) / 2 - profile["lag"].values * np.log10(2)
    np.testing.assert_allclose(profile.values, expected, atol=1e-6)  # powers of two are exact; the log is float64


def test_layers_directions_and_several_modules_are_told_apart():
    model = nn.Sequential()
    model.first = rnnlab.LSTM(I, H, num_layers=2, bidirectional=True)
    model.second = rnnlab.GRU(2 * H, H)
    with rnnlab.record(model) as log:
        for length in (T, T - 3):
            h, _ = model.first(torch.randn(length, B, I))
            model.second(h)[0][-1].sum().backward()
    ds = log.dataset()["log10_grad_norm"]
    assert ds.sizes == {"step": 2, "layer": 3, "direction": 2, "state": 2, "time": T}
    assert np.isfinite(ds.isel(layer=slice(2))[0]).all()
    assert np.isfinite(ds.isel(layer=2).sel(direction="forward", state="h")[0]).all()
    assert np.isnan(ds.isel(layer=2).sel(direction="reverse")).all()
    assert np.isnan(ds.isel(step=1, time=slice(T - 3, None))).all()


def test_reverse_direction_is_the_forward_one_on_the_reversed_sequence():
    both = rnnlab.LSTM(I, H, bidirectional=True, dtype=torch.float64)
    one = rnnlab.LSTM(I, H, dtype=torch.float64)
    one.load_state_dict({k.removesuffix("_reverse"): v for k, v in both.state_dict().items() if k.endswith("_reverse")})
    x = torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(both) as log_both:
        both(x)[0][0, :, H:].sum().backward()
    with rnnlab.record(one) as log_one:
        one(x.flip(0))[0][-1].sum().backward()
    reverse = log_both.dataset()["log10_grad_norm"].sel(direction="reverse").values
    forward = log_one.dataset()["log10_grad_norm"].sel(direction="forward").values
    np.testing.assert_allclose(reverse, forward[..., ::-1], atol=TOLERANCE)


def test_calls_that_say_when_they_start_are_one_sequence():
    layer = rnnlab.GRU(I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(layer) as log:
        layer(x)[0][-1].sum().backward()
        state, y = None, x
        for t, x_t in enumerate(x):
            y, state = layer(x_t[None], state, start=t)
        y[-1].sum().backward()
    ds = log.dataset()["log10_grad_norm"].squeeze()
    np.testing.assert_allclose(ds[0], ds[1], atol=TOLERANCE)


def test_recording_changes_neither_weights_nor_random_stream():
    def train(recording: bool) -> tuple[list[Tensor], Tensor]:
        torch.manual_seed(0)
        model = nn.Sequential()
        model.rnn, model.out = rnnlab.LSTM(I, H, num_layers=2, dropout=0.3), nn.Linear(H, 1)
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        for _ in range(50):
            x = torch.randn(T, B, I)
            optimizer.zero_grad()
            if recording:
                with rnnlab.record(model):
                    model.out(model.rnn(x)[0][-1]).square().mean().backward()
            else:
                model.out(model.rnn(x)[0][-1]).square().mean().backward()
            optimizer.step()
        return list(model.parameters()), torch.rand(3)

    plain, plain_stream = train(False)
    recorded, recorded_stream = train(True)
    assert all(torch.equal(a, b) for a, b in zip(plain, recorded, strict=True))
    assert torch.equal(plain_stream, recorded_stream)


def test_the_scale_undoes_a_batch_mean():
    layer = rnnlab.RNN(I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(layer) as log_sum:
        layer(x)[0][-1].sum(-1).sum().backward()
    with rnnlab.record(layer, loss_reduction_scale=B) as log_mean:
        layer(x)[0][-1].sum(-1).mean().backward()
    np.testing.assert_allclose(log_sum.dataset()["log10_grad_norm"], log_mean.dataset()["log10_grad_norm"])
    assert log_mean.dataset().attrs["loss_reduction_scale"] == B


def test_a_model_without_our_layers_is_refused():
    with pytest.raises(UserError, match="holds no rnnlab layer"), rnnlab.record(nn.LSTM(2, 3)):
        pass


@pytest.mark.filterwarnings("ignore:nothing of the model is recorded")
def test_nothing_is_heard_outside_the_block_or_without_grad():
    layer = rnnlab.RNN(I, H)
    with rnnlab.record(layer) as log, torch.no_grad():
        layer(torch.randn(T, B, I))
    layer(torch.randn(T, B, I))[0].sum().backward()
    assert log.dataset().sizes["step"] == 0


def second_pass(net: nn.Module, x: Tensor) -> Tensor:
    """Norms that are recorded of a backward pass through a gradient, (state, time)."""
    with rnnlab.record(net) as log:
        loss = net(x)[0].square().sum()
        (gradient,) = torch.autograd.grad(loss, net.get_parameter("weight_hh_l0"), create_graph=True)
        gradient.square().sum().backward()
    return torch.from_numpy(log.dataset()["log10_grad_norm"].isel(step=1, layer=0, direction=0).values)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_a_pass_through_a_gradient_is_recorded_as_by_the_reference_scan(kind, monkeypatch):
    net, x = Recurrent(kind, I, H, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    compiled = second_pass(net, x)
    monkeypatch.setattr("rnnlab.scan.native.supports", lambda *_: False)
    torch.testing.assert_close(compiled, second_pass(net, x), rtol=0, atol=TOLERANCE)


def test_what_was_cut_off_is_not_measured_where_calls_say_when_they_start():
    net, x = rnnlab.GRU(I, H, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(net) as log:
        _, state = net(x[:8])
        y, _ = net(x[8:], state.detach(), start=8)
        y[-1].sum().backward()
    norms = log.dataset()["log10_grad_norm"].squeeze()
    assert norms["time"].values.tolist() == list(range(T))
    assert np.isnan(norms[:8]).all()
    assert np.isfinite(norms[8:]).all()


def test_a_transform_is_refused_inside_and_works_outside_the_block():
    net, x = rnnlab.LSTM(2, 3), torch.randn(4, 5, 6, 2)
    weights = {name: torch.stack([p.detach()] * 4) for name, p in net.named_parameters()}

    def member(weights: dict[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(net, weights, (x,))[0]

    with rnnlab.record(net) as log, pytest.raises(UserError, match=r"inside torch\.vmap"):
        torch.vmap(member)(weights, x)
    assert not log.steps
    torch.testing.assert_close(torch.vmap(member)(weights, x)[1], net(x[1])[0])


@pytest.mark.filterwarnings("ignore:nothing of the model is recorded")
@pytest.mark.parametrize("watch", [rnnlab.record, rnnlab.trace])
@pytest.mark.parametrize("cell", ["lstm", "indrnn"])  # by kernel, by reference scan
def test_of_a_frozen_layer_nobody_sees_more_than_without_recording(cell, watch):
    net, readout = Recurrent(cell, I, H).requires_grad_(False), nn.Linear(H, 1)
    with watch(net):
        states = None
        for _ in range(3):  # one backward pass each, with the state carried on
            y, states = net(torch.randn(T, B, I), states)
            assert np.isfinite(y.numpy()).all()
            readout(y).sum().backward()
    assert readout.weight.grad is not None


def test_a_frozen_layer_is_recorded_where_its_input_or_a_layer_above_requires_a_gradient():
    net = rnnlab.GRU(I, H, num_layers=2)
    x = torch.randn(T, B, I)
    with rnnlab.record(net) as log:
        net(x)[0][-1].sum().backward()
        for name, parameter in net.named_parameters():
            parameter.requires_grad_("l1" in name)
        net(x)[0][-1].sum().backward()
        net.requires_grad_(False)(x.clone().requires_grad_())[0][-1].sum().backward()
    norms = log.dataset()["log10_grad_norm"].values
    assert np.isfinite(norms).all()
    np.testing.assert_array_equal(norms[1:], norms[[0, 0]])
