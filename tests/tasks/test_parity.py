import math

import torch

from rnnlab.tasks.parity import Parity


def test_targets_are_the_parity_counted_one_bit_at_a_time():
    for length in (1, 2, 9):
        inputs, last = Parity(length=length).sample(torch.Generator().manual_seed(0), 30)
        again, every = Parity(length=length, every_step=True).sample(torch.Generator().manual_seed(0), 30)
        assert torch.equal(inputs, again)
        for b in range(30):
            odd, expected = False, []
            for bit in inputs[:, b, 0].tolist():
                assert bit in (-1, 1)
                odd = odd != (bit == 1)
                expected.append(int(odd))
            assert every[:, b].tolist() == expected and last[:, b].tolist() == expected[-1:]


def test_one_missed_bit_leaves_a_coin_toss():
    task = Parity(length=6)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 20_000)
    for missed in range(6):
        rest = (inputs[..., 0] > 0).long()
        rest[missed] = 0
        guess = torch.nn.functional.one_hot(rest.sum(0, keepdim=True) % 2, 2).float()
        score = task.scores(guess, targets).mean().item()
        assert abs(score - task.baseline.score) < 4 * 0.5 / math.sqrt(20_000)
    assert math.isclose(task.losses(torch.zeros(1, 20_000, 2), targets).mean().item(), task.baseline.loss, rel_tol=1e-5)
