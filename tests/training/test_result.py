"""Final numbers follow from curves and profile."""

import math
from typing import Any

import numpy as np
import pytest

from rnnlab.config.config import Config
from rnnlab.gradients.norms import Norms
from rnnlab.gradients.profile import Key, Step, build
from rnnlab.training.result import Curve, Outcome, Result

T = 21
CONFIG = Config.parse({"task": {"kind": "adding", "length": T}, "cell": {"kind": "vanilla"}})


def result(profile: Any = None, outcome: Outcome = "finished", loss: float = 0.1, steps: int = 2000) -> Result:
    history = {"val/loss": Curve([100, 200], [0.2, loss]), "val/mse": Curve([100, 200], [0.2, loss])}
    return Result(CONFIG, outcome, steps, None, loss, loss, 1.0, 7, history, profile)


def profile_of(norms: np.ndarray, zero: np.ndarray | None = None) -> Any:
    zero = np.zeros(T) if zero is None else zero
    by_time, key = Norms(norms, norms, norms, zero, np.zeros(T)), Key(0, "forward", "h")
    by_lag = Norms(*(values[::-1] for values in by_time))
    return build([Step({key: by_time}, {key: by_lag}, {}, 0)], ["rnn"], 1.0, False)


@pytest.mark.parametrize(
    ("slope", "vanished", "exploded"), [(-0.31, 1, 0), (-0.29, 0, 0), (0.0, 0, 0), (0.29, 0, 0), (0.31, 0, 1)]
)
def test_vanished_and_exploded_are_six_decades_between_first_and_last(slope, vanished, exploded):
    summary = result(profile_of(slope * np.arange(T)[::-1])).summary()
    assert summary["decay_rate"] == pytest.approx(slope)
    assert (summary["vanished"], summary["exploded"]) == (vanished, exploded)


def test_a_gradient_that_is_exactly_zero_has_vanished_and_an_unmeasured_one_has_not():
    norms = -0.1 * np.arange(T)[::-1].astype(float)
    norms[:5] = np.nan
    zero = np.zeros(T)
    zero[:5] = 1.0
    assert result(profile_of(norms, zero)).summary()["vanished"] == 1
    zero[:5] = np.nan
    assert result(profile_of(norms, zero)).summary()["vanished"] == 0
    assert math.isnan(result().summary()["vanished"])


def test_the_objective_orders_outcomes():
    fast = result(outcome="solved", loss=0.009, steps=200).objective
    slow = result(outcome="solved", loss=0.008, steps=1900).objective
    unsolved = result(loss=0.02).objective
    diverged = [result(outcome="diverged", loss=loss).objective for loss in (0.02, math.nan, math.inf)]
    assert fast < slow < unsolved < min(diverged)
    assert all(math.isfinite(value) for value in diverged)
