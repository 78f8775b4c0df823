import math

import torch

from rnnlab.tasks.autoencoding import Autoencoding


def test_the_target_is_the_input():
    task = Autoencoding(length=6, features=2)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 10)
    assert torch.equal(inputs, targets) and inputs.data_ptr() != targets.data_ptr()


def test_no_number_tells_another():
    inputs = Autoencoding(length=4, features=2).sample(torch.Generator().manual_seed(0), 20_000).inputs
    numbers = inputs.transpose(1, 2).reshape(8, 20_000).double()
    correlations = torch.corrcoef(numbers) - torch.eye(8)
    assert correlations.abs().max() < 4.5 / math.sqrt(20_000)  # 28 of them, in standard errors
    assert numbers.min() >= -1 and numbers.max() <= 1


def test_baseline_is_the_variance():
    task = Autoencoding(length=4, features=2)
    targets = task.sample(torch.Generator().manual_seed(0), 20_000).targets
    losses = task.losses(torch.zeros_like(targets), targets)
    standard_error = losses.std().item() / math.sqrt(losses.numel())
    assert abs(losses.mean().item() - task.baseline.loss) < 4 * standard_error
    torch.testing.assert_close(task.scores(torch.zeros_like(targets), targets), losses.mean(0))
    assert task.baseline.score == task.baseline.loss and math.isclose(task.solved_at, 0.1 * task.baseline.score)
