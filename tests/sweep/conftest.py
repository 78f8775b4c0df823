"""Training that takes known times."""

import math
from collections.abc import Callable

import pytest
from ticking import TRUE, Clock

from rnnlab.config import Config
from rnnlab.sweep import forecast as forecasting
from rnnlab.training.loop import EVALUATION_CHUNK, Interrupted, recorded_steps


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Training takes the true costs on a clock of its own; the first update of a run costs 100 s more."""
    clock = Clock()

    def run(config: Config, *, should_stop: Callable[[], bool]) -> None:
        options = config.training
        recorded = recorded_steps(config.recording, options.steps)
        clock.now += 30.0  # to build the model and the validation set, before the first update
        for step in range(options.steps):
            clock.now += (TRUE.recorded if step in recorded else TRUE.update) + 100 * (step == 0)
            if (step + 1) % options.eval_every == 0 or step + 1 == options.steps:
                clock.now += math.ceil(options.eval_examples / EVALUATION_CHUNK) * TRUE.evaluation
            if should_stop():
                raise Interrupted

    monkeypatch.setattr(forecasting, "run", run)
    monkeypatch.setattr(forecasting, "time", clock)
    return clock
