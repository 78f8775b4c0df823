"""What is due is the bit of so many steps ago, or how it compares with a nearer one."""

import math

import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.tasks.delayed_bits import DelayedBits


@pytest.mark.parametrize("xor", [False, True])
def test_every_answer_follows_from_the_inputs(xor):
    task = DelayedBits(length=40, delay=6, xor=xor)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 5)
    bits = (inputs[..., 0] > 0).long()
    for t in range(40):
        due = torch.zeros(5, dtype=torch.long) if t < 6 else bits[t - 6] ^ (bits[t - 3] if xor else 0)
        assert torch.equal(targets[t], due)
    assert 0.4 < targets[6:].double().mean() < 0.6


def test_what_is_guessed_costs_the_baseline():
    task = DelayedBits(length=40, delay=10)
    targets = task.sample(torch.Generator().manual_seed(0), 500).targets
    outputs = torch.zeros(40, 500, 2)
    outputs[:10, :, 0] = 50.0  # nothing is due yet, and that is known
    assert float(task.losses(outputs, targets).mean()) == pytest.approx(task.baseline.loss, rel=1e-6)
    assert task.baseline.loss == pytest.approx(0.75 * math.log(2))
    outputs[10:, :, 1] = 1.0
    assert float(task.scores(outputs, targets).mean()) == pytest.approx(0.5, abs=0.02)


def test_a_delay_that_cannot_be_is_refused():
    for options in ({"length": 10, "delay": 10}, {"length": 10, "delay": 1, "xor": True}):
        with pytest.raises(UserError, match=r"delay = \d+ is not allowed: choose one below length = 10"):
            DelayedBits.parse(options)
