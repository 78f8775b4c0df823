import math

import pytest
import torch
from torch.nn.functional import one_hot

from rnnlab.tasks.associative_recall import AssociativeRecall


@pytest.mark.parametrize("pairs", [1, 4, 26])
def test_a_dictionary_gives_the_answer(pairs: int):
    task = AssociativeRecall(pairs=pairs)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 100)
    for sentence, answer in zip(inputs.T.tolist(), targets[0].tolist(), strict=True):
        *shown, first_marker, second_marker, asked = sentence
        known = dict(zip(shown[::2], shown[1::2], strict=True))
        assert len(known) == pairs  # keys are distinct
        assert all(key < 26 for key in known) and all(26 <= value < 36 for value in known.values())
        assert first_marker == second_marker == 36
        assert answer == known[asked] - 26


def test_every_pair_is_asked_for_and_lags_reach_the_values():
    task = AssociativeRecall(pairs=5)
    inputs, targets = task.sample(torch.Generator().manual_seed(0), 5000)
    places = (inputs[:10:2] == inputs[-1]).long().argmax(0)
    counts = places.bincount(minlength=5).double()
    assert ((counts - 1000).square() / 1000).sum() < 18.5  # chi-square, 4 degrees of freedom, one in a thousand
    for lag, place in zip(task.lags, (4, 0), strict=True):
        asked = places == place
        assert torch.equal(inputs[-1 - lag, asked] - 26, targets[0, asked])


def test_baseline_is_guessing():
    task = AssociativeRecall()
    targets = task.sample(torch.Generator().manual_seed(0), 20_000).targets
    loss = task.losses(torch.zeros(1, 20_000, 10), targets).mean().item()
    assert math.isclose(loss, task.baseline.loss, rel_tol=1e-5)  # float32
    score = task.scores(one_hot(torch.full((1, 20_000), 3), 10).float(), targets).mean().item()
    assert abs(score - task.baseline.score) < 4 * math.sqrt(0.1 * 0.9 / 20_000)
