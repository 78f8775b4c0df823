"""What a sweep is expected to take: the parts are told apart, and add up as the training loop spends them."""

from typing import Any

import pytest
from ticking import EVALUATION, UPDATE, Clock

from rnnlab.config.config import Config
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.show import forecast as forecasting
from rnnlab.sweep.show.forecast import forecast, members, time_run, typical
from rnnlab.training.progress import Progress


def definition(tiny: dict[str, Any], **fields: Any) -> SweepDefinition:
    return SweepDefinition.parse(tiny | fields)


def config(tiny: dict[str, Any], **training: Any) -> Config:
    base = tiny["base"]
    return Config.parse({**base, "task": tiny["tasks"][0], "training": base["training"] | training})


def test_a_whole_run_is_expected_to_take_what_the_loop_spends(tiny: dict[str, Any], clock: Clock) -> None:
    """Against a plain loop over the updates; the test set is three times the validation set."""
    whole = config(tiny, steps=97, eval_every=10, eval_examples=600, test_examples=1800)
    spent = 3 * EVALUATION
    for step in range(97):
        spent += UPDATE
        if (step + 1) % 10 == 0 or step + 1 == 97:
            spent += EVALUATION
    assert time_run(whole) == pytest.approx(spent)


@pytest.mark.parametrize("rate", [1e-3, 1e30])
def test_updates_are_timed_alone(tiny: dict[str, Any], rate: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """No evaluation lies among them, nothing is recorded, and nothing ends the run before."""
    done, evaluate = list[tuple[int, bool]](), Progress.evaluate

    def noted(run: Progress) -> None:
        done.append((run.step, bool(run.recorded_steps)))
        evaluate(run)

    monkeypatch.setattr(Progress, "evaluate", noted)
    settings = config(tiny, eval_every=1, stop_when_solved=True).model_dump(mode="json")
    assert time_run(Config.parse(settings | {"optimizer": settings["optimizer"] | {"lr": rate}})) > 0
    assert done == [(forecasting.UPDATES + 1, False)] * 2


def test_runs_that_train_together_are_timed_together(tiny: dict[str, Any], clock: Clock) -> None:
    whole = config(tiny, steps=97, eval_every=10)
    assert time_run(whole, together=8) == pytest.approx(time_run(whole))
    of = definition(tiny, trials=20, seeds=4)
    assert [members(of, whole, workers) for workers in (1, 2, 10, 64)] == [20, 10, 2, 1]
    assert members(definition(tiny, trials=20, population=3), whole, 1) == 3
    assert members(definition(tiny, trials=20, seeds=2, sampler="tpe"), whole, 1) == 4


@pytest.mark.parametrize(("workers", "cores", "at_once"), [(1, 8, 1), (2, 8, 2), (4, 2, 2)])
def test_the_work_is_shared_by_workers_that_have_a_core(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch, workers: int, cores: int, at_once: int
) -> None:
    monkeypatch.setattr(forecasting, "usable_cores", lambda: cores)
    expected = forecast(definition(tiny, trials=20, seeds=20), workers)
    each = 10 * UPDATE + 3 * EVALUATION + forecasting.STORE_SECONDS  # two evaluations and the test
    assert expected.seconds - forecasting.START_SECONDS == pytest.approx(2 * 40 * each / at_once)


def test_more_workers_than_runs_cannot_make_a_phase_shorter_than_one_run(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forecasting, "usable_cores", lambda: 64)
    expected = forecast(definition(tiny), 64)
    each = expected.run_seconds[0]
    assert expected.seconds - forecasting.START_SECONDS == pytest.approx(2 * each)  # search, then final


def test_a_search_trial_on_several_seeds_is_so_many_runs(
    tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other, so that even without end of workers a trial takes as long as all its runs."""
    monkeypatch.setattr(forecasting, "usable_cores", lambda: 64)
    of = definition(tiny, search_seeds=4)
    one, many = forecast(of, 1), forecast(of, 64)
    each = one.run_seconds[0]
    assert one.runs == 3 * 4 + 2
    assert one.seconds - forecasting.START_SECONDS == pytest.approx(2 * 14 * each)
    assert many.seconds - forecasting.START_SECONDS == pytest.approx((4 + 1) * each)


def test_what_is_searched_is_measured_at_its_high_end(tiny: dict[str, Any]) -> None:
    search = {**tiny["search"], "cell.hidden_size": {"low": 2, "high": 9, "integer": True}}
    arms = {"a": {}, "b": {"search": {"training.batch_size": {"low": 2, "high": 16, "integer": True}}}}
    of = definition(tiny, search=search, arms=arms)
    configs = [typical(of, plan) for plan in of.studies]
    assert [(each.cell.hidden_size, each.training.batch_size) for each in configs] == [(9, 4), (9, 16)]


def test_what_is_not_measured_is_worked_out_from_its_arm_and_its_task(
    tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    took = {("adding-5", "a"): 2.0, ("adding-5", "b"): 6.0, ("adding-5", "c"): 1.0, ("adding-7", "a"): 5.0}

    def known(config: Config, together: int) -> float:
        arm = {"tanh": "a", "relu": "b", "elu": "c"}[config.cell.model_dump()["activation"]]
        return took[config.task.label, arm]

    monkeypatch.setattr(forecasting, "time_run", known)
    monkeypatch.setattr(forecasting, "STORE_SECONDS", 0.0)
    arms = {"a": {}, "b": {"cell.activation": "relu"}, "c": {"cell.activation": "elu"}}
    tasks = [{"kind": "adding", "length": 5}, {"kind": "adding", "length": 7}]
    told: list[str] = []
    expected = forecast(definition(tiny, arms=arms, tasks=tasks), 1, told.append)
    assert told == ["adding-5/a", "adding-5/b", "adding-5/c", "adding-7/a"]
    # On the second task three times the first arm, and half of it, as on the first task.
    assert expected.run_seconds == (2.0, 6.0, 1.0, 5.0, 15.0, 2.5)
    assert expected.arm_seconds("b") == expected.runs * (6.0 + 15.0)


def test_a_run_that_diverges_at_once_has_a_forecast(tiny: dict[str, Any]) -> None:
    """Weights of 1e300 overflow float32 in the first update."""
    broken = config(tiny).model_dump(mode="json") | {"init": {"recurrent_scale": 1e300}}
    broken["cell"] |= {"activation": "relu"}
    assert time_run(Config.parse(broken)) > 0


def test_probes_are_counted(tiny: dict[str, Any], clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def take(prober: object, step: int, batch: object) -> None:
        clock.now += 11.0

    monkeypatch.setattr(forecasting.Prober, "take", take)
    plain = config(tiny, steps=1000)
    recording = plain.recording.model_copy(update={"probes": ("lagged",), "probe_points": 3})
    probed = plain.model_copy(update={"recording": recording})
    assert time_run(probed) == pytest.approx(time_run(plain) + 3 * 11.0)
