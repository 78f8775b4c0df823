"""Segments that are computed again give the same outputs, gradients and norms in less memory."""

from typing import Any

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 23, 4, 3, 5


@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"dilation": 3}], ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru", "mgu", "skip"])
def test_outputs_gradients_and_norms_are_those_of_one_piece(kind, options):
    torch.manual_seed(0)
    net = Recurrent(kind, I, H, dtype=torch.float64, **options)
    x, lengths = torch.randn(T, B, I, dtype=torch.float64), torch.tensor([T, 3, 9, 20])
    found = []
    for segment in (None, 1, 5, 100):
        net.checkpoint_every = segment
        net.zero_grad()
        with rnnlab.record(net) as log:
            y, states = net(x, lengths=lengths)
            (y.sin().sum() + states[0].square().sum()).backward()
        found.append((y, [p.grad for p in net.parameters()], log.dataset()["log10_grad_norm"].values))
    (y, gradients, norms), *others = found
    for again, same, also in others:
        torch.testing.assert_close(again, y, rtol=0, atol=1e-14)
        for a, b in zip(same, gradients, strict=True):  # sums over segments in another order
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(also, norms, atol=1e-10)


def kept_bytes(every: int | None) -> int:
    """Bytes that autograd holds between a forward and a backward pass of a long sequence."""
    net, x = rnnlab.LSTM(2, 16), torch.randn(2500, 8, 2)
    net.checkpoint_every = every
    total = 0

    def pack(t: torch.Tensor) -> torch.Tensor:
        nonlocal total
        total += t.nbytes
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        net(x)
    return total


def test_the_steps_are_not_kept():
    # Segments of √T keep their inputs (2 of 16 units here) and one pair of states each.
    assert kept_bytes(50) < kept_bytes(None) / 10


@pytest.mark.parametrize("every", [0, -3, True, 2.5, "10"])
def test_what_is_no_length_of_a_segment_is_refused(every):
    with pytest.raises(UserError, match=f"^checkpoint_every = {every!r} must be a whole number of steps"):
        Recurrent("gru", I, H, checkpoint_every=every)
    net = Recurrent("gru", I, H)
    net.checkpoint_every = every
    with pytest.raises(UserError, match="checkpoint_every"):
        net(torch.randn(T, B, I))


def test_what_cannot_be_repeated_is_refused():
    x = torch.randn(T, B, I)
    unrepeatable: list[dict[str, Any]] = [{"zoneout": 0.1}, {"norm": "batch"}, {"norm": "batch_input"}]
    for options in unrepeatable:
        with pytest.raises(UserError, match=r"^checkpoint_every = 5 takes steps again"):
            Recurrent("gru", I, H, checkpoint_every=5, **options)
        net = Recurrent("gru", I, H, **options)
        net.checkpoint_every = 5
        with pytest.raises(UserError, match=r"^checkpoint_every = 5 takes steps again"):
            net(x)
    net = Recurrent("gru", I, H, checkpoint_every=5)
    with rnnlab.trace(net), pytest.raises(UserError, match="trace"):
        net(x)


@pytest.mark.parametrize("kind", ["gru", "lem"])
def test_a_last_segment_by_another_engine_leaves_the_norms_of_the_others(kind):
    """Its single step goes to the reference scan, the others to kernels."""
    profiles = []
    for every in (None, 12):
        net = Recurrent(kind, 3, 5, checkpoint_every=every, generator=torch.Generator().manual_seed(0)).double()
        with rnnlab.record(net) as log:
            net(torch.ones(25, 2, 3).double())[0][-1].sum().backward()
        profiles.append(log.dataset()["log10_grad_norm"].values)
    np.testing.assert_allclose(*profiles, atol=1e-10)
