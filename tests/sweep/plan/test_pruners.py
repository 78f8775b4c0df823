"""A pruner ends a hopeless trial, spares a good one, and treats every arm alike."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.pruners import LEAST_WILCOXON_SEEDS
from rnnlab.sweep.plan.samplers import startup_trials
from rnnlab.sweep.search.hyperband import Hyperband
from rnnlab.sweep.search.make import make_pruner
from rnnlab.sweep.store.slots import claim, fill, recover


def open_study(tiny: dict[str, Any], pruner: str, trials: int = 40, **fields: Any) -> optuna.Study:
    """A study with the pruner of a sweep of 270 updates, 10 between evaluations."""
    tiny["base"]["training"] |= {"steps": 270, "eval_every": 10}
    definition = SweepDefinition.parse(tiny | {"pruner": pruner, "trials": trials} | fields)
    study = optuna.create_study(pruner=make_pruner(definition, definition.studies[0]))
    refill(study, trials)
    return study


def refill(study: optuna.Study, trials: int) -> None:
    fill(study, [{"x": float(slot)} for slot in range(trials)], [{"phase": "search"}] * trials)


def start(study: optuna.Study) -> optuna.Trial:
    claimed = claim([study])
    assert claimed is not None
    return claimed[1]


def train(study: optuna.Study, trial: optuna.Trial, losses: Sequence[float], every: int = 1) -> int | None:
    """Report losses until the trial is told to stop; the step at which it was, or None."""
    for k, loss in enumerate(losses):
        trial.report(loss, k * every)
        if k < len(losses) - 1 and trial.should_prune():
            study.tell(trial, state=TrialState.PRUNED)
            return k * every
    study.tell(trial, sum(losses) / len(losses))
    return None


def test_median_waits_for_the_start_and_then_ends_the_worse_half(tiny: dict[str, Any]) -> None:
    study = open_study(tiny, "median", trials=12)
    good = [start(study) for _ in range(startup_trials(12))]
    bad = start(study)
    for trial in good:
        for step in (10, 100):
            trial.report(0.1, step)
    bad.report(9.0, 100)
    assert not bad.should_prune()  # nobody has finished
    for trial in good:
        study.tell(trial, 0.1)
    early = start(study)
    early.report(9.0, 10)  # a quarter of the updates have to be done first
    assert bad.should_prune() and not early.should_prune()


@pytest.mark.parametrize("seeds", [LEAST_WILCOXON_SEEDS, 8])
def test_wilcoxon_ends_a_trial_that_loses_on_every_seed_as_soon_as_that_means_anything(
    tiny: dict[str, Any], seeds: int
) -> None:
    study = open_study(tiny, "wilcoxon", search_seeds=seeds)
    best = [0.1 + 0.01 * k for k in range(seeds)]
    assert train(study, start(study), best) is None
    assert train(study, start(study), [loss + 0.5 for loss in best]) == 3  # p = 1/16 after four seeds
    assert train(study, start(study), [loss - 0.01 for loss in best]) is None
    mixed = [loss - 0.01 + 0.02 * (-1) ** k for k, loss in enumerate(best)]
    assert train(study, start(study), mixed) is None


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


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "nsga2", "pruner": "median"}, "pruner = 'median' weighs one objective, and sampler = 'nsga2'"),
        ({"pruner": "median", "search_seeds": 2}, "choose pruner = 'wilcoxon' or 'none', or search_seeds = 1"),
        ({"pruner": "hyperband", "search_seeds": 2}, "choose pruner = 'wilcoxon' or 'none', or search_seeds = 1"),
        ({"pruner": "wilcoxon"}, "cannot tell anything from search_seeds = 1: give at least 5"),
        ({"pruner": "hyperband"}, "needs training.steps above 3 × training.eval_every, and on adding-5 they are 10"),
        ({"pruner": "hyperbrand"}, "pruner = 'hyperbrand' is not allowed"),
        ({"search_seeds": 0}, "search_seeds = 0 is not allowed"),
        ({"search_seeds": 1001}, "search_seeds = 1001 is not allowed"),  # they would run into the fresh ones
    ],
)
def test_what_cannot_work_is_refused(tiny: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    search = {**tiny["search"], "optimizer.beta1": {"low": 0.0, "high": 0.9}}
    with pytest.raises(UserError) as error:
        SweepDefinition.parse(tiny | {"search": search} | changes)
    assert message in str(error.value) and "\n" not in str(error.value)
