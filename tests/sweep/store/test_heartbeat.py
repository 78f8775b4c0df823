"""Who is silent for long is taken for lost; who could not be heard is not."""

import time
from typing import Any

import optuna
import pytest

from rnnlab.sweep.store import heartbeat
from rnnlab.sweep.store.heartbeat import Heartbeat, SilenceDetector
from rnnlab.sweep.store.postgres import Pulse


@pytest.fixture
def trial() -> optuna.trial.FrozenTrial:
    study = optuna.create_study()
    study.ask()
    return study.trials[0]


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(heartbeat, "time", clock)
    return clock


def looks(detector: SilenceDetector, clock: Clock, trial: Any, times: range) -> list[bool]:
    lost = []
    for now in times:
        clock.now = float(now)
        lost.append(detector.look()(trial) is not None)
    return lost


def test_silence_is_what_was_watched(clock: Clock, trial: optuna.trial.FrozenTrial) -> None:
    """A beat of long ago, by whatever clock, counts from the first look; a new one starts the count again."""
    beats = {trial._trial_id: Pulse("a", "1970", 1e9)}
    detector = SilenceDetector(lambda: dict(beats))
    assert looks(detector, clock, trial, range(0, 70, 10)) == [False] * 7
    beats[trial._trial_id] = Pulse("a", "1971", 1e9)
    assert looks(detector, clock, trial, range(70, 150, 10)) == [False] * 7 + [True]


def test_whoever_could_not_look_begins_anew(clock: Clock, trial: optuna.trial.FrozenTrial) -> None:
    detector = SilenceDetector(lambda: {trial._trial_id: Pulse("a", "1970", 1e9)})
    assert looks(detector, clock, trial, range(0, 50, 10)) == [False] * 5
    assert looks(detector, clock, trial, range(1000, 1070, 10)) == [False] * 7  # the database was away
    assert looks(detector, clock, trial, range(1070, 1090, 10)) == [True] * 2


def test_a_claim_that_was_never_signed_falls_silent_too(clock: Clock, trial: optuna.trial.FrozenTrial) -> None:
    detector = SilenceDetector(lambda: {trial._trial_id: Pulse(None, None, None)})
    assert looks(detector, clock, trial, range(0, 80, 10))[-2:] == [False, True]


def test_a_heart_stops_once_its_trial_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "BEAT_SECONDS", 0.01)
    answers = [True, True, False]
    with Heartbeat(lambda: answers.pop(0)) as heart:
        while not heart.lost:
            time.sleep(0.01)
    assert answers == []
