"""The flip-flop holds what the last pulse set."""

import pytest
import torch

from rnnlab.tasks.flip_flop import FlipFlop


def test_targets_are_what_a_plain_loop_holds():
    inputs, targets = FlipFlop(length=30).sample(torch.Generator().manual_seed(0), 5)
    for b in range(5):
        held = [0.0] * 3
        for t in range(30):
            for channel in range(3):
                if inputs[t, b, channel] != 0:
                    held[channel] = inputs[t, b, channel].item()
            assert targets[t, b].tolist() == held
    assert (inputs[0] != 0).all() and set(inputs.unique().tolist()) == {-1.0, 0.0, 1.0}


def test_the_baseline_is_what_repeating_pulses_reaches():
    task = FlipFlop(length=20, bits=2, rate=0.3)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 20_000)
    loss = task.losses(inputs, targets).mean().item()
    guess = torch.where(inputs == 0, 2.0 * torch.randint(0, 2, inputs.shape) - 1, inputs)
    # 760,000 answers without a pulse or with one: five standard errors are below 0.004
    assert loss == pytest.approx(task.baseline.loss, abs=0.004)
    assert task.scores(guess, targets).mean().item() == pytest.approx(task.baseline.score, abs=0.004)
