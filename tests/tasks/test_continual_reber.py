"""Streams are embedded Reber strings end to end; of their repeated symbols half can be guessed; legality is exact."""

import math
import re

import pytest
import torch

from rnnlab.tasks.continual_reber import CHOICES, STRING, ContinualReber

REBER = r"B(?:TS*X(?:XT*V(?:PXT*V)*(?:PS|V)|S)|PT*V(?:PXT*V)*(?:PS|V))E"
"""The grammar as a regular expression, from the picture in the paper."""
STRINGS = re.compile(rf"BT{REBER}TE|BP{REBER}PE")


@pytest.fixture(scope="module")
def batch():
    return ContinualReber(length=4000).sample(torch.Generator().manual_seed(0), 8)


def test_a_stream_is_one_string_after_the_other(batch):
    for column in batch.inputs.T:
        stream = "".join("BTPSXVE"[symbol] for symbol in column)
        end = 0
        while end + 80 < len(stream):
            found = STRINGS.match(stream, end)
            assert found, stream[end : end + 30]
            end = found.end()
        assert end > 3000
    assert torch.equal(batch.targets[:-1], batch.inputs[1:])


def test_numbers_of_the_baseline_are_those_of_streams(batch):
    task = ContinualReber(length=4000)
    due = (batch.targets[:-1] == 6) & (batch.targets[1:] != 0)
    ends = (batch.targets == 6).sum() / 2  # an inner and an outer one each
    assert float(batch.targets.numel() / ends) == pytest.approx(STRING, rel=0.02)
    assert float(due.sum() / ends) == pytest.approx(1, abs=0.01)
    free = (
        (task.legal(batch.inputs).sum(-1) == 2).double().mean()
    )  # outer and inner choices; the repeated one is not free
    assert float(free) == pytest.approx((CHOICES - 1) / STRING, rel=0.02)
    assert task.baseline.loss == pytest.approx(2 / 3 * math.log(2))


def test_what_comes_is_always_legal_and_the_repeated_symbol_alone_is_scored(batch):
    task = ContinualReber(length=4000)
    legal = task.legal(batch.inputs)
    assert legal.gather(-1, batch.targets[..., None]).all()
    right = torch.nn.functional.one_hot(batch.targets, 7).double()
    assert (task.scores(right, batch.targets) == 1).all()
    always_t = torch.zeros_like(right)
    always_t[..., 1] = 1
    assert float(task.scores(always_t, batch.targets).mean()) == pytest.approx(0.5, abs=0.05)
    due = torch.zeros_like(batch.targets, dtype=torch.bool)
    due[1:] = (batch.targets[:-1] == 6) & (batch.targets[1:] != 0)
    assert (legal[due].sum(-1) == 1).all()  # who has kept the second symbol knows it
    blind = torch.where(due[..., None], right.roll(1, -1), right)  # wrong there alone
    assert (task.scores(blind, batch.targets) == 0).all()
