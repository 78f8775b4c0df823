"""Clipping bounds what it says, and reports the norm around it."""

import math

import pytest
import torch
from torch import nn

from rnnlab.remedies import change_gradients
from rnnlab.remedies.clipping import Clipping


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    made = [nn.Parameter(torch.zeros(3, 4)), nn.Parameter(torch.zeros(5))]
    for p in made:
        p.grad = torch.randn(p.shape, generator=generator)
    return made


def flat(ps: list[nn.Parameter]) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in ps if p.grad is not None])


@pytest.mark.parametrize("threshold", [0.1, 1.0, 100.0])
def test_by_norm_keeps_the_direction(threshold):
    ps, before = parameters(), flat(parameters())
    changed = change_gradients(ps, [Clipping(by="norm", threshold=threshold)])
    expected = min(1.0, threshold / float(before.norm()))
    torch.testing.assert_close(flat(ps), before * expected)
    assert changed.before == pytest.approx(float(before.norm()))
    assert changed.coefficient == pytest.approx(expected) and changed.clipped == (expected < 1)
    assert changed.after == pytest.approx(float(flat(ps).norm()))


def test_by_value_bounds_every_entry():
    ps, before = parameters(), flat(parameters())
    changed = change_gradients(ps, [Clipping(by="value", threshold=0.5)])
    torch.testing.assert_close(flat(ps), before.clamp(-0.5, 0.5))
    assert changed.after == pytest.approx(float(flat(ps).norm())) and changed.after < changed.before and changed.clipped


def test_without_clipping_nothing_changes():
    ps = parameters()
    assert change_gradients(ps, []).coefficient == 1.0
    torch.testing.assert_close(flat(ps), flat(parameters()))


def test_tiny_and_broken_gradients():
    ps = parameters()
    for p in ps:
        p.grad = torch.full_like(p, 1e-30)  # the square is no float32
    assert change_gradients(ps, [Clipping()]).before == pytest.approx(1e-30 * math.sqrt(17))
    ps[0].grad = torch.full_like(ps[0], torch.inf)
    assert math.isinf(change_gradients(ps, [Clipping()]).before)
    assert not torch.isnan(flat(ps)).any()
