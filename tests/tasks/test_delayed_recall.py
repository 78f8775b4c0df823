import math

import torch

from rnnlab.tasks.delayed_recall import DelayedRecall


def test_the_first_step_holds_the_answer_and_the_others_noise_of_the_given_size():
    inputs, targets = DelayedRecall(length=50, noise=0.3).sample(torch.Generator().manual_seed(0), 1000)
    for b in range(1000):
        assert inputs[0, b, 0].item() == (1.0 if targets[0, b] == 1 else -1.0)
    noise = inputs[1:].flatten()
    # Standard errors of the mean and of the standard deviation of n Gaussian draws.
    assert abs(noise.mean().item()) < 4 * 0.3 / math.sqrt(len(noise))
    assert abs(noise.std().item() - 0.3) < 4 * 0.3 / math.sqrt(2 * len(noise))


def test_the_noise_does_not_tell_the_bit():
    inputs, targets = DelayedRecall(length=5).sample(torch.Generator().manual_seed(0), 10_000)
    signs = 2.0 * targets[0] - 1
    correlation = (inputs[1:, :, 0] * signs).mean(1) / 0.2
    assert correlation.abs().max() < 4 / math.sqrt(10_000)


def test_baseline_is_that_of_guessing():
    task = DelayedRecall(length=3)
    targets = task.sample(torch.Generator().manual_seed(0), 4000).targets
    outputs = torch.zeros(1, 4000, 2)
    assert torch.allclose(task.losses(outputs, targets), torch.tensor(task.baseline.loss))
    score = task.scores(outputs, targets).mean().item()
    assert abs(score - task.baseline.score) < 4 * math.sqrt(0.25 / 4000)
