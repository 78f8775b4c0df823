"""Hyperband ends a hopeless trial, spares a good one, and treats every arm alike."""

from collections import Counter
from typing import Any

import pytest
from pruning import open_study, refill, start, train

from rnnlab.sweep.search.hyperband import Hyperband
from rnnlab.sweep.store.slots import recover


def test_hyperband_starts_to_compare_later_from_bracket_to_bracket() -> None:
    pruner = Hyperband(first=10, last=270, reduction=3)
    assert pruner.rungs == [10, 30, 90]
    # Algorithm 1 for R/r = 27 and a reduction of 3: 27, 12, 6 and 4 trials.
    assert pruner.shares == [27, 12, 6, 4]
    assert Hyperband(first=10, last=271, reduction=3).rungs == [10, 30, 90, 270]


def test_every_bracket_gets_its_share_of_any_number_of_slots() -> None:
    pruner = Hyperband(first=10, last=270, reduction=3)
    for slots in (4, 20, 49, 98):
        counts = Counter(pruner.bracket(slot) for slot in range(slots))
        for bracket, share in enumerate(pruner.shares):
            assert abs(counts[bracket] - slots * share / 49) < 1.5
        assert slots < 10 or all(counts[bracket] for bracket in range(4))


def test_hyperband_ends_hopeless_trials_and_spares_the_best(tiny: dict[str, Any]) -> None:
    """Forty trials, each at a loss of its own that falls slowly: the best one is trained to its end."""
    study = open_study(tiny, "hyperband")
    levels = [(slot * 17 % 40) / 40 + 0.1 for slot in range(40)]
    ended = {}
    for slot, level in enumerate(levels):
        trial = start(study)
        losses = [level + 1 / (1 + k) for k in range(28)]
        ended[slot] = train(study, trial, losses, every=10)
    assert ended[levels.index(min(levels))] is None
    assert isinstance(study.pruner, Hyperband)
    for bracket in range(3):
        slots = [slot for slot in ended if study.pruner.bracket(slot) == bracket]
        pruned = [slot for slot in slots if ended[slot] is not None]
        assert pruned and {ended[slot] for slot in pruned} <= set(study.pruner.rungs[bracket:])
        survivors = [levels[slot] for slot in slots if ended[slot] is None]
        assert min(survivors) == min(levels[slot] for slot in slots)
    assert all(ended[slot] is None for slot in ended if study.pruner.bracket(slot) == 3)


@pytest.mark.parametrize("interrupted", [False, True])
def test_hyperband_does_not_notice_that_a_trial_was_interrupted(tiny: dict[str, Any], interrupted: bool) -> None:
    """It keeps its bracket, and stands at the rung once, with what it reported there: the second of five is ended.

    Counted twice, it would make six rivals, of which two may go on.
    """
    study = open_study(tiny, "hyperband", trials=12)
    assert isinstance(study.pruner, Hyperband)
    slots = [slot for slot in range(12) if study.pruner.bracket(slot) == 0][:5]
    losses = dict(zip(slots, [0.9, 0.1, 0.3, 0.4, 0.2], strict=True))
    running = [start(study) for _ in range(12)]
    for slot, loss in losses.items():
        running[slot].report(loss, 10)
    if interrupted:
        recover(study, lambda trial: "interrupted" if trial.user_attrs["slot"] == slots[0] else None)
        refill(study, 12)
        running[slots[0]] = start(study)
    running[slots[0]].report(0.05, 20)
    assert [running[slot].should_prune() for slot in slots[1:5]] == [False, True, True, True]
    running[slots[0]].report(0.05, 30)
    assert not running[slots[0]].should_prune()  # alone at the second rung
