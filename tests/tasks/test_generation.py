import math
from collections import Counter

import torch
from torch.nn.functional import one_hot

from rnnlab.tasks.generation import Generation, table


def test_each_name_stands_for_one_sequence_whatever_the_seed():
    task, known = Generation(length=12, sequences=5), {}
    for seed in range(3):
        inputs, targets = task.sample(torch.Generator().manual_seed(seed), 40)
        assert (inputs[1:] == 0).all() and inputs[0].min() >= 1
        for name, answer in zip(inputs[0].tolist(), targets.T.tolist(), strict=True):
            assert known.setdefault(name, answer) == answer
    assert sorted(known) == [1, 2, 3, 4, 5]
    assert len(set(map(tuple, known.values()))) == 5


def test_more_steps_and_more_names_change_none_of_what_was_there():
    assert torch.equal(table(30, 9, 8)[:12, :5], table(12, 5, 8))
    assert table(200, 50, 8).unique().tolist() == list(range(8))


def test_baseline_is_the_best_answer_that_knows_the_step_alone():
    task = Generation(length=15, sequences=6)
    columns = [Counter(step.tolist()) for step in table(15, 6, 8)]
    share = torch.tensor([[column[symbol] / 6 for symbol in range(8)] for column in columns], dtype=torch.float64)
    batch = task.sample(torch.Generator().manual_seed(0), 20_000)
    outputs = share.clamp(min=1e-12).log()[:, None].expand(15, 20_000, 8)
    losses = task.losses(outputs, batch.targets).mean(0)
    scores = task.scores(one_hot(share.argmax(-1), 8)[:, None].expand(15, 20_000, 8), batch.targets)
    for values, expected in ((losses, task.baseline.loss), (scores.double(), task.baseline.score)):
        standard_error = values.std().item() / math.sqrt(len(values))
        assert abs(values.mean().item() - expected) < 4 * standard_error
