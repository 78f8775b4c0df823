"""What a sweep is expected to take: the parts are told apart, and add up as the training loop spends them."""

import io
import math
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from rnnlab.config import Config
from rnnlab.sweep import forecast as forecasting
from rnnlab.sweep.definition import SweepDefinition
from rnnlab.sweep.forecast import Costs, forecast, measure, print_forecast, probing_run
from rnnlab.training.loop import EVALUATION_CHUNK, Interrupted, recorded_steps
from rnnlab.training.loop import run as train

TRUE = Costs(update=2.0, recorded=5.0, evaluation=7.0)


class Clock:
    """A clock that only training moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    thread_time = perf_counter


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


def definition(tiny: dict[str, Any], **fields: Any) -> SweepDefinition:
    return SweepDefinition.parse(tiny | fields)


def config(tiny: dict[str, Any], **training: Any) -> Config:
    base = tiny["base"]
    return Config.parse({**base, "task": tiny["tasks"][0], "training": base["training"] | training})


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 1), (math.inf, forecasting.PROBING_UPDATES // 4)])
def test_the_parts_of_a_run_are_told_apart(tiny: dict[str, Any], clock: Clock, seconds: float, rounds: int) -> None:
    assert measure(config(tiny, eval_examples=500), seconds) == TRUE
    assert clock.now == 130 + rounds * (2 * TRUE.recorded + 2 * TRUE.update + TRUE.evaluation)


def test_the_real_loop_alternates_as_the_measurement_expects(tiny: dict[str, Any]) -> None:
    """Even updates are recorded, every fourth is followed by an evaluation, and nothing ends the run before."""
    probing = probing_run(config(tiny))
    evaluated: list[int] = []
    result = train(probing, on_evaluation=lambda step, _: evaluated.append(step))
    assert result.profile is not None
    assert result.profile["train_step"].values.tolist() == list(range(0, forecasting.PROBING_UPDATES + 1, 2))
    assert evaluated[:-1] == list(range(4, forecasting.PROBING_UPDATES + 1, 4))


def test_a_whole_run_costs_what_its_parts_cost(tiny: dict[str, Any]) -> None:
    """Against a plain loop over the updates; only the last, shorter chunk of examples counts for a whole one."""
    whole = Config.parse(
        {
            **config(tiny, steps=97, eval_every=10, eval_examples=600, test_examples=2001).model_dump(mode="json"),
            "recording": {"points": 12},
        }
    )
    seconds = 0.0
    for step in range(97):
        seconds += 5.0 if step in recorded_steps(whole.recording, 97) else 2.0
        if (step + 1) % 10 == 0 or step + 1 == 97:
            seconds += 3 * 7.0
    assert TRUE.run_seconds(whole) == pytest.approx(seconds + 9 * 7.0)


@pytest.mark.parametrize(("workers", "cores", "at_once"), [(1, 8, 1), (2, 8, 2), (4, 2, 2)])
def test_the_work_is_shared_by_workers_that_have_a_core(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch, workers: int, cores: int, at_once: int
) -> None:
    monkeypatch.setattr(forecasting, "usable_cores", lambda: cores)
    expected = forecast(definition(tiny, trials=20, seeds=20), workers)
    each = 10 * 2.0 + 3 * 7.0 + forecasting.STORE_SECONDS  # two evaluations and the test
    assert expected.seconds - forecasting.START_SECONDS == pytest.approx(2 * 40 * each / at_once)


def test_more_workers_than_runs_cannot_make_a_phase_shorter_than_one_run(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasting, "usable_cores", lambda: 64)
    expected = forecast(definition(tiny), 64)
    each = expected.studies[0].run_seconds
    assert expected.seconds - forecasting.START_SECONDS == pytest.approx(2 * each)  # search, then final


def test_a_search_trial_on_several_seeds_is_so_many_runs(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, so that even without end of workers a trial takes as long as all its runs."""
    monkeypatch.setattr(forecasting, "usable_cores", lambda: 64)
    of = definition(tiny, search_seeds=4)
    one, many = forecast(of, 1), forecast(of, 64)
    each = one.studies[0].run_seconds
    assert one.runs == 3 * 4 + 2
    assert one.seconds - forecasting.START_SECONDS == pytest.approx(2 * 14 * each)
    assert many.seconds - forecasting.START_SECONDS == pytest.approx((4 + 1) * each)
    assert "2 arms × 1 task × (3 search trials of 4 seeds + 2 final runs) = 28 runs" in shown(of)[1]


def test_sizes_are_measured_at_their_high_end_and_rates_at_their_low_one(tiny: dict[str, Any], clock: Clock) -> None:
    search = {**tiny["search"], "cell.hidden_size": {"low": 2, "high": 9, "integer": True}}
    (study, *_) = forecast(definition(tiny, search=search)).studies
    assert (study.config.cell.model_dump()["hidden_size"], study.config.optimizer.lr) == (9, 1e-4)


def test_when_time_is_up_an_arm_counts_as_the_slowest_of_its_task(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third arm is not measured; every task is, however long that takes."""
    clock = Clock()
    took = {("adding-5", "a"): 3.0, ("adding-7", "a"): 1.0, ("adding-5", "b"): 2.0, ("adding-7", "b"): 4.0}

    def slowly(config: Config, seconds: float) -> Costs:
        clock.now += forecasting.TOTAL_SECONDS / 3.5
        arm = {"tanh": "a", "relu": "b"}[config.cell.model_dump()["activation"]]
        return Costs(took[config.task.label, arm], 1.0, 1.0)

    monkeypatch.setattr(forecasting, "measure", slowly)
    monkeypatch.setattr(forecasting, "time", clock)
    arms = {"a": {}, "b": {"cell.activation": "relu"}, "c": {}}
    tasks = [{"kind": "adding", "length": 5}, {"kind": "adding", "length": 7}]
    expected = forecast(definition(tiny, arms=arms, tasks=tasks))
    assert [(s.plan.name, s.costs.update, s.measured) for s in expected.studies] == [
        ("adding-5/a", 3.0, True),
        ("adding-5/b", 2.0, True),
        ("adding-5/c", 3.0, False),
        ("adding-7/a", 1.0, True),
        ("adding-7/b", 4.0, True),
        ("adding-7/c", 4.0, False),
    ]


def test_a_run_that_diverges_at_once_has_a_forecast(tiny: dict[str, Any]) -> None:
    """Weights of 1e300 overflow float32 in the first update."""
    broken = config(tiny).model_dump(mode="json") | {"init": {"recurrent_scale": 1e300}}
    broken["cell"] |= {"activation": "relu"}
    costs = measure(Config.parse(broken))
    assert costs.update > 0 and costs.evaluation == 0


@pytest.mark.parametrize("changes", [{}, {"pruner": "median"}])
def test_it_says_when_the_estimate_is_an_upper_bound(
    tiny: dict[str, Any], clock: Clock, changes: dict[str, Any]
) -> None:
    tiny["base"]["training"]["stop_when_solved"] = False
    text = shown(definition(tiny, **changes))
    assert ("less where runs end before" in "".join(text)) == bool(changes)


def shown(of: SweepDefinition, terminal: bool = False, width: int = 80) -> list[str]:
    file = io.StringIO()
    print_forecast(of, None, Console(file=file, width=width, force_terminal=terminal, color_system=None))
    return file.getvalue().splitlines()


def test_the_plan_is_counted_and_every_factor_named(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasting.os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    lines = shown(definition(tiny, tasks=[{"kind": "adding", "length": n} for n in (5, 6, 7)]))
    assert lines[0] == "sweep       tiny: Does it run?"
    assert lines[1] == (
        "planned     2 arms × 3 tasks × (3 search trials + 2 final runs) = 30 runs, "
        "random sampler, no pruner, 2 workers"
    )
    assert {line.split()[0] for line in lines[2:8]} == {"scientific", "nuisance", "fixed"}
    assert sum(line.startswith("measured") for line in lines) == 6
    times = "update 2000 ms, recorded 5000 ms, evaluation 7000 ms, ≈ a run 42.0 s, ≈ 5 runs 3.5 min"
    assert f"measured    adding-6/tanh: {times}" in lines
    assert lines[-1].strip() == "Nothing was started, nothing was written."


@pytest.mark.parametrize("width", [80, 120])
def test_the_plan_fits_the_terminal(tiny: dict[str, Any], clock: Clock, width: int) -> None:
    arms = {f"an-arm-with-a-rather-long-name-{k}": {"cell.activation": "relu"} for k in range(12)}
    lines = [line for line in shown(definition(tiny, arms=arms), terminal=True, width=width) if "\x1b" not in line]
    assert max(map(len, lines)) <= width
    rows = [line.split() for line in lines if "42.0 s" in line]
    assert rows[0][1:] == ["2000", "ms", "5000", "ms", "7000", "ms", "42.0", "s", "3.5", "min"]
    assert len(rows) == 12
