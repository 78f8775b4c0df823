"""Final numbers follow from curves and profile."""

import math
from typing import Any

import numpy as np
import pytest

from rnnlab.config.config import Config
from rnnlab.gradients.norms import Norms
from rnnlab.gradients.profile import Key, Step, build
from rnnlab.training.result import Curve, Outcome, Result
from rnnlab.training.runs import run

T = 21
CONFIG = Config.parse({"task": {"kind": "adding", "length": T}, "cell": {"kind": "vanilla"}})


def result(profile: Any = None, outcome: Outcome = "finished", loss: float = 0.1, steps: int = 2000) -> Result:
    history = {"val/loss": Curve([100, 200], [0.2, loss]), "val/mse": Curve([100, 200], [0.2, loss])}
    return Result(CONFIG, outcome, steps, None, loss, loss, 1.0, 7, history, profile)


def profile_of(norms: np.ndarray, zero: np.ndarray | None = None) -> Any:
    zero = np.zeros(T) if zero is None else zero
    by_time, key = Norms(norms, norms, norms, zero, np.zeros(T)), Key(0, "forward", "h")
    by_lag = Norms(*(values[::-1] for values in by_time))
    loss = np.zeros(T)
    loss[-1] = 1
    return build([Step({key: by_time}, {key: by_lag}, {}, 0, {}, {key: loss}, {key: loss[::-1]})], ["rnn"], 1.0, False)


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


def test_with_a_loss_at_every_step_the_decay_is_that_of_single_answers_or_none():
    copying = {
        "task": {"kind": "copying", "length": 10},
        "cell": {"kind": "gru", "hidden_size": 6},
        "training": {"steps": 2, "eval_every": 2, "eval_examples": 4, "test_examples": 4, "batch_size": 4},
    }
    plain, probed = (run(Config.parse(copying | {"recording": {"probes": p}})) for p in ("light", ["lagged"]))
    assert all(math.isnan(plain.summary()[f"decay_{name}"]) for name in ("rate", "rate_init", "r2", "bent"))
    assert np.isnan(plain.history["grad/decay_rate"].values).all()
    assert probed.probes is not None
    answers = probed.probes["log10_lagged_norm"].isel(layer=0, direction=0).values
    slopes = [np.polyfit(np.arange(len(row)), row, 1)[0] for row in answers]
    assert [probed.summary()[name] for name in ("decay_rate_init", "decay_rate")] == pytest.approx(slopes)
