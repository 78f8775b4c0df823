"""Sequences of unequal length: every example as if it ran alone, and nothing computed or measured beyond its end."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import rnnlab
from rnnlab.common.errors import UserError

T, I, H = 8, 3, 4
LENGTHS = [3, 8, 1, 5, 5]  # unsorted, with a tie
B = len(LENGTHS)
KINDS = [("RNN", {}), ("LSTM", {}), ("LSTM", {"proj_size": 2}), ("GRU", {})]
TOLERANCE = 1e-12  # float64, and sums of up to a hundred terms in another order


def make(name: str, **options: Any) -> nn.RNNBase:
    torch.manual_seed(0)
    return getattr(rnnlab, name)(I, H, 2, bidirectional=True, dtype=torch.float64, **options)


def batch(padding: float = 0.0) -> Tensor:
    x = torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for b, length in enumerate(LENGTHS):
        x[length:, b] = padding
    return x


def start(layer: nn.RNNBase) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(2)
    sizes = [layer.proj_size or H] + [H] * isinstance(layer, nn.LSTM)
    return tuple(torch.randn(4, B, size, dtype=torch.float64, generator=generator) for size in sizes)


def call(layer: nn.RNNBase, way: str, x: Tensor, states: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """(T, B, ·) outputs and the states after the last step."""
    hx = states if len(states) == 2 else states[0]
    if way == "lengths":
        y, after = layer(x, hx, lengths=torch.tensor(LENGTHS))
    else:
        packed, after = layer(pack_padded_sequence(x, LENGTHS, enforce_sorted=False), hx)
        y, lengths = pad_packed_sequence(packed)
        assert lengths.tolist() == LENGTHS
    return y, after if isinstance(after, tuple) else (after,)


def loss(y: Tensor, after: tuple[Tensor, ...]) -> Tensor:
    """Different for every unit, and of all outputs and states; zeros of padding add nothing."""
    unit = torch.arange(1.0, y.shape[-1] + 1, dtype=y.dtype)
    return (y.sin() * unit).sum() + sum(((k + 2) * s.cos()).sum() for k, s in enumerate(after))


@pytest.mark.parametrize("way", ["lengths", "packed"])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_a_batch_is_its_sequences_one_by_one(name, options, way):
    layer = make(name, **options)
    x, states = batch(), start(layer)
    with rnnlab.record(layer, per_example=True) as log:
        y, after = call(layer, way, x, states)
        loss(y, after).backward()
    together = log.dataset()
    gradients = [p.grad.clone() for p in layer.parameters() if p.grad is not None]
    layer.zero_grad()
    alone = []
    for b, length in enumerate(LENGTHS):
        with rnnlab.record(layer, per_example=True) as log:
            own = tuple(state[:, b : b + 1] for state in states)
            y_b, after_b = layer(x[:length, b : b + 1], own if len(own) == 2 else own[0])
            after_b = after_b if isinstance(after_b, tuple) else (after_b,)
            loss(y_b, after_b).backward()
        alone.append(log.dataset())
        torch.testing.assert_close(y[:length, b : b + 1], y_b, rtol=TOLERANCE, atol=TOLERANCE)
        assert (y[length:, b] == 0).all()
        for state, state_b in zip(after, after_b, strict=True):
            torch.testing.assert_close(state[:, b : b + 1], state_b, rtol=TOLERANCE, atol=TOLERANCE)
    for p, gradient in zip(layer.parameters(), gradients, strict=True):
        torch.testing.assert_close(gradient, p.grad, rtol=TOLERANCE, atol=TOLERANCE)
    norms = together["log10_grad_norm_per_example"].isel(step=0)
    assert norms.sizes["example"] == B and norms.sizes["time"] == T
    for b, length in enumerate(LENGTHS):
        expected = alone[b]["log10_grad_norm_per_example"].isel(step=0, example=0).values
        np.testing.assert_allclose(norms.isel(example=b, time=slice(length)), expected, atol=TOLERANCE)
        assert np.isnan(norms.isel(example=b, time=slice(length, None))).all()
    np.testing.assert_allclose(together["log10_grad_norm"][0], norms.mean("example"), atol=TOLERANCE)  # skips NaN
    assert (together["zero_fraction"] == 0).all()


@pytest.mark.parametrize("padding", [1e30, float("inf"), float("nan")])
@pytest.mark.parametrize(("name", "options"), KINDS, ids=str)
def test_what_stands_in_the_padding_is_never_read(name, options, padding):
    results = []
    for value in (0.0, padding):
        layer, x = make(name, **options), batch(value).requires_grad_()
        with rnnlab.record(layer) as log:
            y, after = call(layer, "lengths", x, start(layer))
            loss(y, after).backward()
        assert x.grad is not None and (x.grad[LENGTHS[0] :, 0] == 0).all()
        profile = torch.from_numpy(log.dataset()["log10_grad_norm"].values)
        results.append([y, *after, x.grad, profile, *(p.grad for p in layer.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_beyond_the_longest_sequence_of_a_batch_nothing_is_measured():
    layer = rnnlab.GRU(I, H, dtype=torch.float64)
    x = batch()[:, [0, 2]]  # lengths 3 and 1
    with rnnlab.record(layer) as log:
        short, _ = layer(x[:3], lengths=[3, 1])
        layer(batch(), lengths=LENGTHS)[0].sum().backward()
        short.sum().backward()
    profile = log.dataset()["log10_grad_norm"].squeeze()
    assert np.isfinite(profile[0]).all()
    assert np.isfinite(profile[1, :3]).all() and np.isnan(profile[1, 3:]).all()


@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_a_loss_of_the_last_real_step_reaches_every_step_before_it(name):
    """For each example the last step's total gradient is the direct one: of a sum, √H."""
    layer = getattr(rnnlab, name)(I, H, dtype=torch.float64)
    with rnnlab.record(layer, per_example=True) as log:
        y, _ = layer(batch(), lengths=LENGTHS)
        y[torch.tensor(LENGTHS) - 1, torch.arange(B)].sum().backward()
    norms = log.dataset()["log10_grad_norm_per_example"].sel(state="h").squeeze()
    for b, length in enumerate(LENGTHS):
        assert norms[length - 1, b] == pytest.approx(np.log10(H) / 2, abs=1e-14)
        assert np.isfinite(norms[:length, b]).all()


@pytest.mark.parametrize("lengths", [[8, 8], [3, 8, 0, 5, 5], [3, 9, 1, 5, 5], [3, 7, 1, 5, 5], [-1, 8, 1, 5, 5]])
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(UserError, match=r"lengths = \[.*\] do not fit the input: .* its 5 sequences, between 1 and 8"):
        rnnlab.GRU(I, H)(torch.zeros(T, B, I), lengths=lengths)


@pytest.mark.parametrize("lengths", [[8, 2.5, 3, 5, 5], torch.full((5,), 8.0), [8, True, 3, 5, 5], [8, "3", 1, 1, 1]])
def test_lengths_that_are_not_whole_are_refused(lengths):
    with pytest.raises(UserError, match=r"lengths = \[.*\] are numbers of time steps: give whole ones"):
        rnnlab.GRU(I, H)(torch.zeros(T, B, I), lengths=lengths)


@pytest.mark.parametrize("kind", [np.array, tuple, lambda n: torch.tensor(n, dtype=torch.int32), np.uint8])
def test_whole_lengths_of_any_kind_will_do(kind):
    net, x, lengths = rnnlab.GRU(I, H), torch.randn(T, B, I), [8, 3, 1, 5, 5]
    torch.testing.assert_close(net(x, lengths=kind(lengths))[0], net(x, lengths=lengths)[0], rtol=0, atol=0)


def test_lengths_beside_packed_sequences_are_refused():
    packed = pack_padded_sequence(torch.zeros(T, B, I), LENGTHS, enforce_sorted=False)
    with pytest.raises(UserError, match="lengths are given twice"):
        rnnlab.GRU(I, H)(packed, lengths=LENGTHS)
