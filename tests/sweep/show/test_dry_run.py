"""What is said before a sweep starts: every factor, and how long it may take."""

import io
from typing import Any

import pytest
from rich.console import Console
from ticking import EVALUATION, UPDATE, Clock

from rnnlab.common.errors import UserError
from rnnlab.common.text import duration
from rnnlab.config.config import Config
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.show import dry_run
from rnnlab.sweep.show import forecast as forecasting
from rnnlab.sweep.show.dry_run import print_forecast, say_cost


@pytest.mark.parametrize("changes", [{}, {"pruner": "median"}])
def test_it_says_when_the_estimate_is_an_upper_bound(
    tiny: dict[str, Any], clock: Clock, changes: dict[str, Any]
) -> None:
    tiny["base"]["training"]["stop_when_solved"] = False
    text = shown(SweepDefinition.parse(tiny | changes))
    assert ("or less: runs may end before" in "".join(text)) == bool(changes)


def shown(of: SweepDefinition, terminal: bool = False, width: int = 80) -> list[str]:
    file = io.StringIO()
    print_forecast(of, None, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue().splitlines()


def test_the_plan_is_counted_and_every_factor_named(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dry_run.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    lines = shown(SweepDefinition.parse(tiny | {"tasks": [{"kind": "adding", "length": n} for n in (5, 6, 7)]}))
    assert lines[0] == "sweep       tiny: Does it run?"
    assert lines[1] == (
        "planned     2 arms × 3 tasks × (3 search trials + 2 final runs) = 30 runs, "
        "random sampler, no pruner, 2 workers"
    )
    assert lines[2].startswith("evidence    2 seeds an arm cannot show any difference between arms, however large")
    assert "6 seeds could." in lines[2]
    assert {line.split()[0] for line in lines[3:11]} == {"scientific", "nuisance", "fixed"}
    each = 10 * UPDATE + 3 * EVALUATION + forecasting.STORE_SECONDS
    measured = [line for line in lines if line.startswith("measured")]
    assert (
        measured[0] == f"measured    tanh: width 4, weights 37, 15 runs in {duration(15 * each)}, up to 2 side by side"
    )
    assert len(measured) == 2 and measured[1].startswith("measured    lstm: width 4, weights 133,")
    assert lines[-1].strip() == "Nothing was started, nothing was written."


def test_trials_on_several_seeds_are_counted_as_runs(tiny: dict[str, Any], clock: Clock) -> None:
    lines = shown(SweepDefinition.parse(tiny | {"search_seeds": 4}))
    assert "2 arms × 1 task × (3 search trials of 4 seeds + 2 final runs) = 28 runs" in lines[1]


def test_the_plan_fits_the_terminal(tiny: dict[str, Any], clock: Clock) -> None:
    arms = {f"an-arm-with-a-rather-long-name-{k}": {"cell.hidden_size": k} for k in range(1, 13)}
    printed = shown(SweepDefinition.parse(tiny | {"arms": arms}), terminal=True, width=80)
    lines = [line for line in printed if "\x1b" not in line]
    assert max(map(len, lines)) <= 80 and sum("measured    " in line for line in printed) == 12


@pytest.mark.parametrize(("seeds", "enough"), [(5, False), (6, True)])
def test_seeds_that_can_show_nothing_are_told_before_they_are_spent(
    tiny: dict[str, Any], clock: Clock, seeds: int, enough: bool
) -> None:
    """Winning on each of n seeds has a chance of 2^(1-n) where neither of two arms is better: 1/16 or 1/32."""
    definition, file = SweepDefinition.parse(tiny | {"seeds": seeds}), io.StringIO()
    (line,) = [line for line in shown(definition) if line.startswith("evidence")]
    assert ("can show a difference" in line) == enough and ("p = 0.031" if enough else "p = 0.062") in line
    say_cost(definition, 1, Console(file=file, width=60))
    assert ("cannot show any difference" not in file.getvalue()) == enough


def test_the_cost_of_a_sweep_is_said_in_one_line(tiny: dict[str, Any], clock: Clock) -> None:
    file = io.StringIO()
    say_cost(SweepDefinition.parse(tiny), 1, Console(file=file, width=60))
    (line, _) = file.getvalue().splitlines()
    # Five runs of two arms, each of ten updates, two evaluations and a test, and the time to start and to store.
    each = 10 * UPDATE + 3 * EVALUATION + forecasting.STORE_SECONDS
    seconds = forecasting.START_SECONDS + 10 * each
    assert f"expected cost: 10 runs, 100 updates, about {duration(seconds)} with 1 worker" in line


def test_an_arm_that_cannot_be_trained_does_not_keep_the_others_from_starting(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks(config: Config, together: int) -> float:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(forecasting, "time_run", breaks)
    file = io.StringIO()
    say_cost(SweepDefinition.parse(tiny), 1, Console(file=file, width=60))
    assert "expected cost: unknown, as an arm cannot be measured (RuntimeError: out of memory)" in file.getvalue()


def test_an_estimate_needs_workers(tiny: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="workers = 0 leaves nobody whose time could be estimated"):
        print_forecast(SweepDefinition.parse(tiny), 0, Console(file=io.StringIO()))
