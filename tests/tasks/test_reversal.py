import math
from itertools import product

import pytest
import torch

from rnnlab.tasks import IGNORED
from rnnlab.tasks.reversal import Reversal, permutation


@pytest.mark.parametrize("fillers", [0.0, 0.4, 0.9])
@pytest.mark.parametrize("mapping", [False, True])
def test_targets_are_what_a_plain_loop_writes(fillers: float, mapping: bool):
    task = Reversal(length=7, fillers=fillers, mapping=mapping)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 200)
    partner, lengths = permutation().tolist(), set()
    for read, expected in zip(inputs.T.tolist(), targets.T.tolist(), strict=True):
        written = []
        for symbol in reversed(read):
            if symbol != 0:
                written.append(partner[symbol] if mapping else symbol)
        lengths.add(len(written))
        written.append(0)
        assert expected == written + [IGNORED] * (8 - len(written))
    assert lengths == {7} if fillers == 0 else len(lengths) > 2


def test_the_mapping_pairs_every_symbol_with_one_other():
    partner = permutation().tolist()
    assert sorted(partner) == list(range(9)) and partner[0] == 0
    assert all(partner[k] != k for k in range(1, 9))


@pytest.mark.parametrize(("length", "fillers"), [(4, 0.0), (4, 0.3), (3, 0.95)])
def test_baseline_is_the_best_answer_that_knows_the_position_alone(length: int, fillers: float):
    task = Reversal(length=length, fillers=fillers)
    counts = torch.zeros(length + 1, 9, dtype=torch.float64)
    answers = []  # every way to place fillers, with its probability: symbols are as good as one another
    for kept in product([False, True], repeat=length):
        p = math.prod(1 - fillers if k else fillers for k in kept)
        answers.append((sum(kept), p))
        for position in range(sum(kept)):
            counts[position, 1:] += p / 8
        counts[sum(kept), 0] += p
    best = counts.argmax(-1)  # the first of equals
    share = counts / counts.sum(-1, keepdim=True)
    mean_answers = sum(p * (k + 1) for k, p in answers)
    assert task.baseline.loss == pytest.approx(-(counts * share.clamp(min=1e-300).log()).sum().item() / mean_answers)
    score = 0.0
    for k, p in answers:
        right = sum(1 / 8 for position in range(k) if best[position] != 0) + (best[k] == 0).item()
        score += p * right / (k + 1)
    assert task.baseline.score == pytest.approx(score)


def test_baseline_agrees_with_simulation():
    task = Reversal(length=5, fillers=0.3)
    batch = task.sample(torch.Generator().manual_seed(0), 40_000)
    due = batch.targets != IGNORED
    counts = torch.stack([batch.targets[s][due[s]].bincount(minlength=9) for s in range(6)]).double()
    outputs = (counts / counts.sum(-1, keepdim=True)).clamp(min=1e-12).log()[:, None].expand(6, 40_000, 9)
    loss = task.losses(outputs, batch.targets).sum().item() / batch.answers
    # Within 1%: the frequencies come from the same 40,000 examples.
    assert loss == pytest.approx(task.baseline.loss, rel=0.01)
    assert task.scores(outputs, batch.targets).mean().item() == pytest.approx(task.baseline.score, rel=0.01)
