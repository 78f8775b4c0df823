"""Layers that are called in several threads at once, as replicas are."""

import sys
import threading
from collections.abc import Iterator

import pytest
import torch

import rnnlab


@pytest.fixture
def restless() -> Iterator[None]:
    """Threads take turns a thousand times as often as they would."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_calls_in_several_threads_are_told_apart(restless: None) -> None:
    net, inputs = rnnlab.LSTM(3, 5, num_layers=2), [torch.randn(9, 2, 3) for _ in range(4)]
    with rnnlab.record(net) as one_by_one:
        sum(net(x)[0][-1].sum() for x in inputs).backward()  # type: ignore[union-attr]
    expected = one_by_one.dataset()
    for _ in range(20):
        found: dict[int, torch.Tensor] = {}

        def call(k: int, found: dict[int, torch.Tensor] = found) -> None:
            found[k] = net(inputs[k])[0][-1].sum()

        with rnnlab.record(net) as log:
            threads = [threading.Thread(target=call, args=(k,)) for k in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            sum(found.values()).backward()  # type: ignore[union-attr]
        profile = log.dataset()
        assert sorted(profile["call"].values.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
        for name in ("log10_grad_norm", "loss_fraction"):  # whichever thread came first
            ours, theirs = (set(map(repr, d[name].isel(step=0).values.round(4).tolist())) for d in (profile, expected))
            assert ours == theirs
