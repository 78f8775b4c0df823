"""Recorded norms are the true total gradients, and recording changes nothing else."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

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


def alone_by_lag(net: nn.Module, x: Tensor, lengths: list[int]) -> list[np.ndarray]:
    """log10 norms of every sequence on its own, the last step first, from plain autograd through single steps."""
    found = []
    for b, length in enumerate(lengths):
        states, hidden = [], None
        for x_t in x[:length, b : b + 1]:
            _, hidden = net(x_t.unsqueeze(0), hidden)
            hidden.retain_grad()
            states.append(hidden)
        states[-1].sum().backward()
        found.append(np.array([float(s.grad.norm().log10()) for s in states[::-1]]))
    return found


@pytest.mark.parametrize("packed", [True, False])
def test_decay_of_sequences_of_unequal_length_is_that_of_each_alone(packed):
    """Lag counts from the last step of each: from the end of the longest the slope comes out at half of it."""
    torch.manual_seed(0)
    net, lengths = rnnlab.GRU(I, 8, dtype=torch.float64), [10, 30, 60, 100]
    x = torch.randn(100, 4, I, dtype=torch.float64)
    with rnnlab.record(net) as log:
        if packed:
            net(nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths), enforce_sorted=False))[1].sum().backward()
        else:  # one step of the record each
            for b, length in enumerate(lengths):
                net(x[:length, b : b + 1])[1].sum().backward()
    ds = log.dataset().squeeze()
    alone = alone_by_lag(net, x, lengths)
    together = np.full((4, 100), np.nan)
    for row, norms in zip(together, alone, strict=True):
        row[: len(norms)] = norms
    if packed:
        slope = rnnlab.fit_decay(ds["log10_grad_norm_by_lag"].values, ds["lag"].values).slope
        assert slope == pytest.approx(np.mean([rnnlab.fit_decay(n, np.arange(len(n))).slope for n in alone]), rel=0.1)
        with np.errstate(all="ignore"):
            np.testing.assert_allclose(ds["log10_grad_norm_by_lag"], np.nanmean(together, 0), atol=TOLERANCE)
            np.testing.assert_allclose(ds["log10_grad_norm_min_by_lag"], np.nanmin(together, 0), atol=TOLERANCE)
            np.testing.assert_allclose(ds["log10_grad_norm_max_by_lag"], np.nanmax(together, 0), atol=TOLERANCE)
    else:
        np.testing.assert_allclose(ds["log10_grad_norm_by_lag"], together, atol=TOLERANCE)


def test_lag_counts_in_the_direction_of_the_scan():
    """Padding behind the longest sequence, and either direction: the last step of a scan has lag 0."""
    net = rnnlab.RNN(I, H, bidirectional=True, dtype=torch.float64)
    for name, value in net.named_parameters():
        if name.endswith("_reverse"):
            value.data = net.get_parameter(name.removesuffix("_reverse")).data
    x, lengths = torch.randn(T, B, I, dtype=torch.float64), [T, 3, 7, 5, 1]
    mirrored = torch.zeros_like(x)
    for b, length in enumerate(lengths):
        mirrored[:length, b] = x[:length, b].flip(0)
    found = []
    for inputs in (x, mirrored):
        with rnnlab.record(net) as log:
            net(inputs, lengths=lengths)[1].sum().backward()
        found.append(log.dataset()["log10_grad_norm_by_lag"].squeeze())
    np.testing.assert_allclose(found[0].sel(direction="forward"), found[1].sel(direction="reverse"), atol=TOLERANCE)


def test_calls_are_sequences_of_their_own_unless_their_start_joins_them():
    """A network that reads two sentences: each has its own norms, those of a pass on its own."""
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"rnn": rnnlab.GRU(I, H, num_layers=2, dtype=torch.float64)})})
    net = model.get_submodule("encoder.rnn")
    x, z = (torch.randn(steps, B, I, dtype=torch.float64) for steps in (T, T - 4))

    def pieces(x: Tensor) -> Tensor:
        _, state = net(x[:5])
        return net(x[5:], state, start=5)[1]

    with rnnlab.record(model) as log:
        (net(x)[1].sum() + net(z)[1].square().sum()).backward()
        (net(x)[1].sum() + pieces(z).square().sum()).backward()
        net(x)[1].sum().backward()
        net(z)[1].square().sum().backward()
    ds = log.dataset()
    assert ds["log10_grad_norm"].dims == ("step", "layer", "direction", "state", "time")
    assert ds["module"].values.tolist() == ["encoder.rnn"] * 4
    assert ds["layer"].values.tolist() == [0, 0, 1, 1] and ds["call"].values.tolist() == [0, 1, 0, 1]
    first, second = (ds["log10_grad_norm"].isel(layer=ds["call"] == call) for call in (0, 1))
    for both in (0, 1):
        np.testing.assert_allclose(first[both], first[2], atol=TOLERANCE)
        np.testing.assert_allclose(second[both], first[3], atol=TOLERANCE)
    assert np.isnan(second[2:]).all()


def recorded(net: nn.Module, x: Tensor) -> np.ndarray:
    """Norms of one undisturbed pass."""
    with rnnlab.record(net) as log:
        net(x)[0][-1].sum().backward()
    return log.dataset()["log10_grad_norm"].values


def test_a_pass_that_failed_leaves_nothing_behind():
    net, x = rnnlab.GRU(I, H, num_layers=2, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(net) as log:
        for error in (ValueError, KeyboardInterrupt):
            entered = x.clone().requires_grad_()

            def fail(gradient: Tensor, error: type[BaseException] = error) -> None:
                raise error

            entered.register_hook(fail)
            with pytest.raises(error):
                net(entered)[0][-1].sum().backward()
        y = net(x)[0][-1].sum()
        y.backward()
        with pytest.raises(RuntimeError, match="second time"):
            y.backward()
        net(x)[0][-1].sum().backward()
    norms = log.dataset()["log10_grad_norm"].values
    assert len(norms) == 2
    for row in norms:
        np.testing.assert_allclose(row, recorded(net, x)[0], atol=TOLERANCE)


def test_passes_of_two_threads_are_two_steps():
    net, x = rnnlab.GRU(I, H, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    together = threading.Barrier(2, timeout=20)

    def meet(gradient: Tensor) -> None:
        together.wait()

    with rnnlab.record(net) as log:
        losses = []
        for _ in range(2):
            y = net(x)[0]
            y.register_hook(meet)
            losses.append(y[-1].sum())
        threads = [threading.Thread(target=loss.backward) for loss in losses]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    norms = log.dataset()["log10_grad_norm"].values
    assert len(norms) == 2
    np.testing.assert_allclose(norms, recorded(net, x).repeat(2, 0), atol=TOLERANCE)


def test_reentrant_checkpoints_round_each_layer_make_one_step():
    model = nn.ModuleList([rnnlab.GRU(I, H, dtype=torch.float64), rnnlab.GRU(H, H, dtype=torch.float64)])
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    with rnnlab.record(model) as log:
        for reentrant in (True, False):
            y = x
            for layer in model:
                y = checkpoint(lambda x, layer=layer: layer(x)[0], y, use_reentrant=reentrant)
            y[-1].sum().backward()
        model[1](model[0](x)[0])[0][-1].sum().backward()
    norms = log.dataset()["log10_grad_norm"].values
    assert len(norms) == 3
    np.testing.assert_allclose(norms[0], norms[2], atol=TOLERANCE)
    np.testing.assert_allclose(norms[1], norms[2], atol=TOLERANCE)


def test_calls_of_different_batch_size_and_empty_ones_leave_the_users_backward_alone():
    net = rnnlab.LSTM(I, H, dtype=torch.float64)
    many, few, none = (torch.randn(T, n, I, dtype=torch.float64) for n in (4, 2, 0))
    with rnnlab.record(net, per_example=True) as log:
        (net(many)[0][-1].sum() + net(few)[0][-1].sum() + net(none)[0].sum()).backward()
        _, (h, c) = net(many[:5])
        net(many[5:, :2], (h[:, :2], c[:, :2]), start=5)[0][-1].sum().backward()  # the batch shrinks on the way
        net(none)[0].sum().backward()
        net(few)[0][-1].sum().backward()
    norms = log.dataset()["log10_grad_norm_per_example"].sel(state="h").squeeze()  # (step, call, time, example)
    np.testing.assert_allclose(norms[0, 0, :, :4], recorded_examples(net, many), atol=TOLERANCE)
    np.testing.assert_allclose(norms[0, 1, :, :2], recorded_examples(net, few), atol=TOLERANCE)
    assert np.isnan(norms[0, 1, :, 2:]).all() and np.isnan(norms[0, 2]).all()
    assert np.isfinite(norms[1, 0, :, :2]).all() and not np.isfinite(norms[1, 0, 5:, 2:]).any()
    np.testing.assert_allclose(norms[-1, 0, :, :2], recorded_examples(net, few), atol=TOLERANCE)


def recorded_examples(net: nn.Module, x: Tensor) -> np.ndarray:
    """Norms (T, B) of one undisturbed pass."""
    with rnnlab.record(net, per_example=True) as log:
        net(x)[0][-1].sum().backward()
    return log.dataset()["log10_grad_norm_per_example"].sel(state="h").squeeze().values


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_has_no_logarithm_is_refused_at_the_door(scale):
    with (
        pytest.raises(UserError, match="loss_reduction_scale"),
        rnnlab.record(rnnlab.RNN(I, H), loss_reduction_scale=scale),
    ):
        pass


def test_copies_that_share_observers_and_weights_that_are_plain_tensors_are_recorded():
    net, x = rnnlab.GRU(I, H, dtype=torch.float64), torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(net) as log:
        replica = copy.copy(net)
        replica._parameters = {}
        for name, value in net.named_parameters():
            setattr(replica, name, value * 1.0)
        replica(x)[0][-1].sum().backward()
    np.testing.assert_allclose(log.dataset()["log10_grad_norm"], recorded(net, x), atol=TOLERANCE)


def test_of_a_long_training_every_nth_pass_is_kept():
    net, batches = rnnlab.GRU(I, H, dtype=torch.float64), torch.randn(7, T, B, I, dtype=torch.float64)
    with rnnlab.record(net, every=3) as log:
        for x in batches:
            net(x)[0][-1].sum().backward()
    expected = np.concatenate([recorded(net, x) for x in batches[::3]])
    np.testing.assert_allclose(log.dataset()["log10_grad_norm"], expected, atol=TOLERANCE)
    with pytest.raises(UserError, match="every = 0"), rnnlab.record(net, every=0):
        pass
