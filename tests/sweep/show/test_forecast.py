"""What a sweep is expected to take: the parts are told apart, and add up as the training loop spends them."""

import math
from typing import Any

import pytest
from ticking import TRUE, Clock

from rnnlab.config.config import Config
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.show import forecast as forecasting
from rnnlab.sweep.show.forecast import Costs, forecast, measure, probing_run
from rnnlab.training.loop import recorded_steps
from rnnlab.training.loop import run as train


def definition(tiny: dict[str, Any], **fields: Any) -> SweepDefinition:
    return SweepDefinition.parse(tiny | fields)


def config(tiny: dict[str, Any], **training: Any) -> Config:
    base = tiny["base"]
    return Config.parse({**base, "task": tiny["tasks"][0], "training": base["training"] | training})


@pytest.mark.parametrize(("seconds", "rounds"), [(0.0, 1), (math.inf, forecasting.PROBING_UPDATES // 4)])
def test_the_parts_of_a_run_are_told_apart(tiny: dict[str, Any], clock: Clock, seconds: float, rounds: int) -> None:
    assert measure(config(tiny, eval_examples=500), seconds) == TRUE
    assert clock.now == 130 + rounds * (2 * TRUE.recorded + 2 * TRUE.update + TRUE.evaluation)


@pytest.mark.parametrize("rate", [1e-3, 1e30])
def test_the_real_loop_alternates_as_the_measurement_expects(tiny: dict[str, Any], rate: float) -> None:
    """Even updates are recorded, every fourth is followed by an evaluation, and nothing ends the run before."""
    settings = config(tiny).model_dump(mode="json")
    probing = probing_run(Config.parse(settings | {"optimizer": settings["optimizer"] | {"lr": rate}}))
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


def test_what_is_searched_is_measured_at_its_high_end(tiny: dict[str, Any], clock: Clock) -> None:
    search = {**tiny["search"], "cell.hidden_size": {"low": 2, "high": 9, "integer": True}}
    (study, *_) = forecast(definition(tiny, search=search)).studies
    assert study.config.cell.model_dump()["hidden_size"] == 9


def test_what_is_not_measured_is_worked_out_from_its_arm_and_its_task(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is up at once: the first arm is measured on every task and every arm on the first task all the same."""
    clock = Clock()
    took = {("adding-5", "a"): 2.0, ("adding-5", "b"): 6.0, ("adding-5", "c"): 1.0, ("adding-7", "a"): 5.0}

    def slowly(config: Config, seconds: float) -> Costs:
        clock.now += forecasting.TOTAL_SECONDS
        arm = {"tanh": "a", "relu": "b", "elu": "c"}[config.cell.model_dump()["activation"]]
        return Costs(took[config.task.label, arm], 1.0, 0.0)

    monkeypatch.setattr(forecasting, "measure", slowly)
    monkeypatch.setattr(forecasting, "time", clock)
    arms = {"a": {}, "b": {"cell.activation": "relu"}, "c": {"cell.activation": "elu"}}
    tasks = [{"kind": "adding", "length": 5}, {"kind": "adding", "length": 7}]
    expected = forecast(definition(tiny, arms=arms, tasks=tasks))
    assert [(s.plan.name, s.costs, s.measured) for s in expected.studies] == [
        ("adding-5/a", Costs(2.0, 1.0, 0.0), True),
        ("adding-5/b", Costs(6.0, 1.0, 0.0), True),
        ("adding-5/c", Costs(1.0, 1.0, 0.0), True),
        ("adding-7/a", Costs(5.0, 1.0, 0.0), True),
        ("adding-7/b", Costs(15.0, 1.0, 0.0), False),  # three times the first arm, as on the first task
        ("adding-7/c", Costs(2.5, 1.0, 0.0), False),
    ]


def test_an_arms_own_sizes_are_measured_at_their_high_end_too(tiny: dict[str, Any], clock: Clock) -> None:
    arms = {"a": {}, "b": {"search": {"training.batch_size": {"low": 2, "high": 16, "integer": True}}}}
    expected = forecast(definition(tiny, arms=arms))
    assert [study.config.training.batch_size for study in expected.studies] == [4, 16]


def test_a_run_that_diverges_at_once_has_a_forecast(tiny: dict[str, Any]) -> None:
    """Weights of 1e300 overflow float32 in the first update."""
    broken = config(tiny).model_dump(mode="json") | {"init": {"recurrent_scale": 1e300}}
    broken["cell"] |= {"activation": "relu"}
    costs = measure(Config.parse(broken))
    assert costs.update > 0 and costs.evaluation == 0
