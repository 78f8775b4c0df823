"""Which backward pass, which call and which step of an example a recorded norm belongs to."""

import copy
import threading

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import rnnlab
from rnnlab.common.errors import UserError

T, B, I, H = 12, 5, 3, 4
TOLERANCE = 1e-10  # in log10 of float64 norms that differ by the order of a few sums


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


@pytest.mark.parametrize("cell", ["gru", "indrnn"])  # by kernel, by reference scan
def test_losses_are_noted_where_they_enter(cell):
    net = rnnlab.Recurrent(cell, I, H, num_layers=2, bidirectional=True)
    x, lengths = torch.randn(T, B, I), [T, 9, 7, 5, 3]
    with rnnlab.record(net) as log:
        net(x)[0][[2, 6], 1].sum().backward()  # one example of five
        net(x, lengths=lengths)[1].sum().backward()
        _, state = net(x[:8])
        net(x[8:], state, start=8)[0][-1].sum().backward()
        net(x)[1].sum().backward()
    found = log.dataset().sel(state="h")
    expected = np.zeros((4, T))
    expected[0, [2, 6]], expected[3, T - 1] = 0.2, 1
    expected[1, np.array(lengths) - 1] = 1 / np.arange(1, B + 1)  # of those that still go on
    expected[2, T - 1] = 1
    by_lag = expected[:, ::-1].copy()
    by_lag[1], by_lag[1, 0] = 0, 1
    for layer in range(2):
        forward = found.isel(layer=layer).sel(direction="forward")
        np.testing.assert_allclose(forward["loss_fraction"], expected)
        np.testing.assert_allclose(forward["loss_fraction_by_lag"], by_lag)
    reverse = found["loss_fraction_by_lag"].isel(layer=1).sel(direction="reverse")
    np.testing.assert_allclose(reverse[[0, 3]], [expected[0], by_lag[3]])
