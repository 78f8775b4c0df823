import math

import torch

from rnnlab.tasks.adding import Adding


def test_targets_are_the_marked_sum():
    inputs, targets = Adding(length=9).sample(torch.Generator().manual_seed(0), 50)
    for b in range(50):
        total = 0.0
        for t in range(9):
            if inputs[t, b, 1] == 1:
                total += inputs[t, b, 0].item()
        assert math.isclose(targets[0, b, 0].item(), total, rel_tol=1e-6)


def test_one_marker_anywhere_in_each_half():
    for length in (2, 9, 10):
        markers = Adding(length=length).sample(torch.Generator().manual_seed(0), 2000).inputs[..., 1]
        assert torch.equal(markers[: length // 2].sum(0), torch.ones(2000))
        assert torch.equal(markers[length // 2 :].sum(0), torch.ones(2000))
        assert (markers.sum(1) > 0).all()


def test_baselines_are_those_of_no_memory_and_of_one_number():
    task = Adding(length=20)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 20_000)
    none = task.losses(torch.ones_like(targets), targets)[0]
    second = (inputs[10:, :, 0] * inputs[10:, :, 1]).sum(0)
    one = task.losses(0.5 + second[None, :, None], targets)[0]
    for losses, expected in ((none, task.baseline.loss), (one, 1 / 12)):
        standard_error = losses.std().item() / math.sqrt(len(losses))
        assert abs(losses.mean().item() - expected) < 4 * standard_error
    assert task.baseline.score == task.baseline.loss


def test_solved_is_an_error_small_enough():
    assert Adding().solved(0.01) and Adding().solved(0.0)
    assert not Adding().solved(0.0101)


def test_noise_leaves_the_marked_steps_and_the_answer_alone():
    clean = Adding(length=40).sample(torch.Generator().manual_seed(0), 500)
    noisy = Adding(length=40, noise=0.3).sample(torch.Generator().manual_seed(0), 500)
    assert torch.equal(clean.targets, noisy.targets)
    marked = clean.inputs[..., 1] == 1
    added = noisy.inputs - clean.inputs
    assert (added[marked] == 0).all() and (added[~marked] != 0).all()
    for channel in added[~marked].T.double():  # 19,000 draws: bounds at four standard errors
        assert abs(channel.mean().item()) < 4 * 0.3 / math.sqrt(19_000)
        assert abs(channel.std().item() - 0.3) < 4 * 0.3 / math.sqrt(2 * 19_000)
