import math

import pytest
import torch

from rnnlab.tasks.temporal_order import TemporalOrder


@pytest.mark.parametrize("bits", [2, 3])
@pytest.mark.parametrize("length", [10, 19, 100])
def test_an_oracle_reads_the_class_off_the_sequence(bits: int, length: int):
    task = TemporalOrder.parse({"bits": bits, "length": length})
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 100)
    for b in range(100):
        order = ""
        for symbol in inputs[:, b].tolist():
            order += {0: "A", 1: "B"}.get(symbol, "")
        assert len(order) == bits
        classes = ["AA", "AB", "BA", "BB"]
        if bits == 3:
            classes = [first + rest for first in "AB" for rest in classes]
        assert targets[0, b].item() == classes.index(order)


@pytest.mark.parametrize(
    ("bits", "windows"), [(2, [(10, 20), (50, 60)]), (3, [(10, 20), (30, 40), (60, 70)])], ids=["6a", "6b"]
)
def test_relevant_symbols_stand_anywhere_in_their_windows_and_nowhere_else(bits: int, windows: list):
    task = TemporalOrder.parse({"bits": bits, "length": 100})
    relevant = (task.sample(torch.Generator().manual_seed(0), 4000).inputs < 2).sum(1)
    allowed = torch.zeros(100, dtype=torch.bool)
    for start, end in windows:
        allowed[start:end] = True
        # Each of ten places of a window is equally likely: 400 ± 4 standard deviations.
        assert (relevant[start:end] - 400).abs().max() < 4 * math.sqrt(4000 * 0.1 * 0.9)
    assert relevant[~allowed].sum() == 0
    assert [100 - 1 - start for start, _ in reversed(windows)] == list(task.lags)


@pytest.mark.parametrize(("bits", "limit"), [(2, 16.3), (3, 24.3)])
def test_classes_are_equally_likely_and_the_baseline_is_guessing(bits: int, limit: float):
    task = TemporalOrder.parse({"bits": bits, "length": 10})
    targets = task.sample(torch.Generator().manual_seed(0), 8000).targets
    counts = targets[0].bincount(minlength=2**bits).double()
    expected = 8000 / 2**bits
    assert ((counts - expected).square() / expected).sum() < limit  # exceeded once in a thousand
    outputs = torch.zeros(1, 8000, 2**bits)
    assert torch.allclose(task.losses(outputs, targets), torch.tensor(bits * math.log(2)))
    assert math.isclose(task.baseline.loss, bits * math.log(2))
    score, guess = task.scores(outputs, targets).mean().item(), task.baseline.score
    assert abs(score - guess) < 4 * math.sqrt(guess * (1 - guess) / 8000)


def test_distractors_are_equally_likely_and_do_not_tell_the_class():
    inputs, targets = TemporalOrder(length=10).sample(torch.Generator().manual_seed(0), 8000)
    for chosen in (targets[0] == 0, targets[0] == 3):
        counts = inputs[:, chosen].flatten().bincount(minlength=6)[2:].double()
        expected = counts.sum() / 4
        assert ((counts - expected).square() / expected).sum() < 16.3  # exceeded once in a thousand
