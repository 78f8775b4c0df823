"""The median rule among peers."""

import optuna
import pytest
from optuna.trial import TrialState, create_trial

from rnnlab.sweep.search.median import Median


def study(values: list[list[float]], states: list[TrialState]) -> optuna.Study:
    """Trials that have reported these values at updates 1, 2, ...; the first one is judged."""
    made = optuna.create_study()
    for reported, state in zip(values, states, strict=True):
        value = reported[-1] if state == TrialState.COMPLETE else None
        made.add_trial(create_trial(state=state, value=value, intermediate_values=dict(enumerate(reported, start=1))))
    return made


@pytest.mark.parametrize("others", [TrialState.RUNNING, TrialState.COMPLETE])
@pytest.mark.parametrize(("mine", "pruned"), [([5.0, 4.0], True), ([5.0, 2.0], False), ([0.5, 9.0], False)])
def test_peers_are_those_that_have_come_as_far(others: TrialState, mine: list[float], pruned: bool) -> None:
    made = study([mine, [1.0, 1.0], [9.0, 3.0], [8.0, 8.0], [0.0]], [TrialState.RUNNING, *[others] * 4])
    assert Median(3, 0).prune(made, made.trials[0]) == pruned  # the median of 1, 3 and 8
    assert not Median(4, 0).prune(made, made.trials[0]) and not Median(3, 3).prune(made, made.trials[0])


def test_those_that_were_cut_short_are_no_peers() -> None:
    made = study([[5.0], [1.0], [1.0]], [TrialState.RUNNING, TrialState.PRUNED, TrialState.FAIL])
    assert not Median(1, 0).prune(made, made.trials[0])
