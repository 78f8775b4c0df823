"""What is shown of a run: the newest numbers, in 80 columns of a terminal or in lines of a log file."""

import io

import numpy as np
import pytest
from rich.console import Console

from rnnlab.commands.run_display import RunDisplay, print_result
from rnnlab.commands.sparkline import BLOCKS
from rnnlab.config.config import Config
from rnnlab.gradients.decay import Decay
from rnnlab.gradients.norms import Norms
from rnnlab.training.result import Curve
from rnnlab.training.runs import run

SMALL = {
    "task": {"kind": "adding", "length": 30},
    "cell": {"kind": "vanilla", "hidden_size": 4},
    "training": {"steps": 20, "eval_every": 10, "eval_examples": 20, "test_examples": 20},
    "remedies": {"clipping": {}},
    "recording": {"points": 4},
}


def console(width: int = 80, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=width, height=24, force_terminal=terminal, color_system=None)


def lines(on: Console) -> list[str]:
    assert isinstance(on.file, io.StringIO)
    return [line.rstrip() for line in on.file.getvalue().splitlines()]


def panel(display: RunDisplay, width: int) -> list[str]:
    on = console(width)
    display.console = on
    on.print(display.render())
    return lines(on)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_panel_shows_everything_and_fits(width):
    config = Config.parse(SMALL)
    display = RunDisplay(config, console(terminal=True))
    assert len(panel(display, width)) == 3  # nothing is known before the first number
    run(config, on_evaluation=display.evaluated, on_profile=display.recorded)
    shown = panel(display, width)
    text = " ".join(" ".join(line.strip("│") for line in shown).split())
    expected = ["20 of 20 updates", "train loss 0.", "val mse 0.", "trivial baseline 0.167", "solved at ≤ 0.01"]
    expected += ["% of the updates", "decades a step of lag", "steps back in time", "t = 0 to 29", "update 19"]
    assert [words for words in expected if words not in text] == []
    assert BLOCKS[0] in text and BLOCKS[-1] in text
    assert max(map(len, shown)) <= min(width - len("^C"), 100) and len(shown) < 20


def test_the_numbers_are_those_of_the_run():
    config = Config.parse(SMALL)
    display = RunDisplay(config, console())
    result = run(config, on_evaluation=display.evaluated, on_profile=display.recorded)
    told = lines(display.console)
    assert [line.split("  ")[0] for line in told] == ["step 10/20", "step 20/20"]
    assert f"val mse {result.history['val/mse'].values[-1]:.3g}" in told[-1]
    assert f"decay rate {result.summary()['decay_rate']:+.3g}" in told[-1]
    assert result.profile is not None and display.profile is not None
    newest = result.profile["log10_grad_norm"].sel(state="h").isel(step=-1, layer=0, direction=0)
    np.testing.assert_array_equal(display.profile[1].mean, newest.values)


def test_time_left_follows_the_pace_since_the_first_number(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("rnnlab.commands.run_display.time.monotonic", lambda: now[0])
    display = RunDisplay(Config.parse({**SMALL, "training": {"steps": 1000}, "remedies": {}}), console())
    curves = {name: Curve([1], [0.5]) for name in ("train/loss", "val/mse")}
    display.evaluated(400, curves)  # a run that was taken up where it stopped
    assert "left" not in "".join(panel(display, 80))
    now[0] += 10
    display.evaluated(500, curves)
    assert "at most 0:50 left" in "".join(panel(display, 80))
    now[0] += 7
    assert "at most 0:43 left" in "".join(panel(display, 80))


def test_without_a_gradient_nothing_is_claimed_of_it():
    display = RunDisplay(Config.parse(SMALL), console())
    nothing = np.full(30, np.nan)
    display.recorded(0, Norms(nothing, nothing, nothing, np.ones(30), np.zeros(30)), Decay.unknown())
    shown = panel(display, 80)
    assert any("decay rate" in line and "–" in line for line in shown)
    assert any("no gradient" in line and "0: exactly zero" in line for line in shown)


def test_a_result_is_a_fact_a_line_in_a_narrow_log():
    on = console(width=40)
    print_result(on, run(Config.parse(SMALL)), "0123")
    assert [line.split("  ")[0] for line in lines(on)] == [
        "outcome", "test mse", "decay rate", "half-life", "time", "MLflow run"
    ]  # fmt: skip
