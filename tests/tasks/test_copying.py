import math

import torch
from torch.nn.functional import one_hot

from rnnlab.tasks.copying import Copying


def test_an_oracle_reads_the_answers_off_the_inputs():
    for length in (1, 2, 30):
        inputs, targets = Copying(length=length).sample(torch.Generator().manual_seed(0), 20)
        for b in range(20):
            memory, expected, seen_marker = [], [], False
            for symbol in inputs[:, b].tolist():
                expected.append(memory.pop(0) if seen_marker else 0)
                if 1 <= symbol <= 8:
                    memory.append(symbol)
                seen_marker = seen_marker or symbol == 9
            assert targets[:, b].tolist() == expected
            assert memory == []


def test_layout_is_items_blanks_marker_blanks():
    inputs = Copying(length=7).sample(torch.Generator().manual_seed(0), 30).inputs
    assert len(inputs) == 7 + 20
    assert ((inputs[:10] >= 1) & (inputs[:10] <= 8)).all()
    assert (inputs[10:16] == 0).all() and (inputs[16] == 9).all() and (inputs[17:] == 0).all()


def test_the_delay_is_a_lag_worth_a_look():
    task = Copying(length=30)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 50)
    delay = task.length + 10
    assert delay in task.lags
    assert torch.equal(targets[delay:], inputs[:-delay])


def test_items_are_equally_likely():
    items = Copying(length=1).sample(torch.Generator().manual_seed(0), 8000).inputs[:10]
    counts = items.flatten().bincount(minlength=10)[1:9].double()
    chi_square = ((counts - 10_000).square() / 10_000).sum().item()
    assert chi_square < 24.3  # exceeded once in a thousand with 7 degrees of freedom


def test_baseline_is_blanks_then_guessing_among_eight():
    task = Copying(length=40)
    targets = task.sample(torch.Generator().manual_seed(0), 3000).targets
    outputs = torch.zeros(60, 3000, 9)
    outputs[:50, :, 0] = 100
    outputs[50:, :, 0] = -100
    loss = task.losses(outputs, targets).mean().item()
    assert math.isclose(loss, 10 * math.log(8) / 60, rel_tol=1e-5)  # float32 sums
    assert math.isclose(task.baseline.loss, 10 * math.log(8) / 60)
    guesses = torch.randint(1, 9, targets.shape, generator=torch.Generator().manual_seed(1))
    score = task.scores(one_hot(guesses, 9).float(), targets).mean().item()
    assert abs(score - task.baseline.score) < 4 * math.sqrt(1 / 8 * 7 / 8 / 30_000)


def test_the_score_looks_at_the_recalled_items_alone():
    task = Copying(length=40)
    targets = task.sample(torch.Generator().manual_seed(0), 5).targets
    outputs = one_hot(targets, 9).float()
    outputs[:50] = one_hot(torch.tensor(3), 9).float()
    assert (task.scores(outputs, targets) == 1).all()
    blanks = one_hot(torch.zeros_like(targets), 9).float()
    assert (task.scores(blanks, targets) == 0).all()
