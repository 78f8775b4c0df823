"""A sweep's definition: mistakes are found before anything starts, and every arm gets the same."""

from pathlib import Path
from typing import Any

import pytest

from rnnlab.common.errors import UserError
from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.plan.outline import Outline

BIAS = {"search": {"cell.forget_bias": {"low": 0, "high": 5}}}
BATCH = {"training.batch_size": {"choices": [2, 4]}}
QUICKSTART = Path(__file__).parents[3] / "sweeps" / "quickstart.yaml"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tirals": 3}, "there is no field 'tirals': did you mean 'trials'?"),
        ({"name": "../up"}, "name '../up' is not allowed"),
        ({"name": ".."}, "name '..' is not allowed"),
        ({"arms": {"a/b": {}}}, "name 'a/b' is not allowed"),
        ({"arms": {}}, "arms = {} is not allowed"),
        ({"arms": {"big": {"cell.hidden_sice": 8}}}, "arm 'big' on task adding: cell: there is no field 'hidden_sice'"),
        ({"arms": {"x": {"seed": 3}}}, "arms.x.seed: the sweep sets task and seed itself"),
        ({"arms": {"x": {"task.length": 3}}}, "arms.x.task.length: the sweep sets task and seed itself"),
        ({"arms": {"x": {"optimizer.lr": 0.1}}}, "arms.x fixes optimizer.lr, which the search varies"),
        ({"search": {"seed": {"choices": [1]}}}, "search.seed: the sweep sets task and seed itself"),
        ({"search": {"optimizer.rl": {"low": 1, "high": 2}}}, "arm 'tanh' on adding-5 has no such field"),
        ({"search": {"optimizer.rl": {"low": 1, "high": 2}}}, "did you mean 'optimizer.lr'?"),
        ({"search": {"optimizer.lr": {"low": -1, "high": 2}}}, "arm 'tanh' on adding-5: optimizer.lr = -1.0"),
        ({"search": {"cell.activation": {"choices": ["tanh"]}}}, "arms.tanh fixes cell.activation"),
        (
            {"search": {"remedies.clipping.threshold": {"low": 1, "high": 2}}},
            "arm 'tanh' on adding-5 has no such field",
        ),
        ({"search": {"optimizer.beta1": {"choices": [0.5, 1.5]}}}, "optimizer.beta1 = 1.5 is not allowed"),
        ({"search": {"training.batch_size": {"low": 2, "high": 64}}}, "search.training.batch_size leads to 25.6819"),
        (
            {"sampler": "grid", "trials": None, "search": {"training.batch_size": {"low": 2, "high": 9, "points": 3}}},
            "search.training.batch_size leads to 5.5, and the field takes whole numbers alone: add integer: true",
        ),
        ({"search": {}}, "search = {} is not allowed: give it an entry at least"),
        ({"tasks": []}, "tasks = [] is not allowed: give it an entry at least"),
        ({"search": {"optimizer.lr": {"choices": []}}}, "choices = [] is not allowed: give it an entry at least"),
        ({"tasks": [{"kind": "adding", "length": 5}] * 2}, "adding-5 stands for two of the tasks"),
        ({"tasks": [{"kind": "adding", "length": 5, "with": {"seed": 1}}]}, "tasks.0.with.seed: the sweep sets"),
        ({"tasks": [{"kind": "adding", "length": 1}]}, "task.length = 1 is not allowed"),
        ({"trials": None}, "trials is missing"),
        ({"trials": 0}, "trials = 0 is not allowed"),
        ({"sampler": "grid"}, "search.optimizer.lr needs 'points'"),
        ({"sampler": "annealing"}, "sampler = 'annealing' is not allowed"),
        ({"search": {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "points": 3}}}, "points is for sampler = 'grid'"),
        ({"arms": {"x": 3}}, "arms.x = 3 is not allowed"),
        ({"arms": {"x": BIAS}}, "arms.x.search.cell.forget_bias: arm 'x' on adding-5 has no such field"),
        ({"arms": {"x": {"search": {"optimizer.lr": {"low": 1, "high": 2}}}}}, "which the search varies in every arm"),
        ({"arms": {"x": {"cell.kind": "lstm", "cell.forget_bias": 1.0} | BIAS}}, "which arms.x.search varies"),
        ({"arms": {"x": {"search": {"seed": {"choices": [1, 2]}}}}}, "arms.x.search.seed: the sweep sets"),
        ({"arms": {"x": {"search": {"init.recurrent_scale": {"low": 2, "high": 1}}}}}, "low = 2 must be smaller"),
        (
            {"arms": {"x": {"search": BATCH}}, "sampler": "grid", "trials": None},
            "arms.x.search is for samplers with a number of trials",
        ),
        ({"arms": {"x": {}, "y": {"cell.hidden_size": 4}}}, "arms.y is the same as arms.x on every task: drop one"),
        ({"equal": "size"}, "equal = 'size' is not allowed"),
        ({"equal": "parameters", "arms": {"x": {"cell.hidden_size": 9}}}, "arms.x sets cell.hidden_size, which equal"),
        ({"equal": "parameters", "arms": {"x": {"cell": {"hidden_size": 9}}}}, "arms.x sets cell.hidden_size, which"),
        ({"equal": "parameters", "search": {"cell.hidden_size": {"choices": [3, 4]}}}, "search sets cell.hidden_size"),
        (
            {"equal": "parameters", "arms": {"x": {"search": {"model.num_layers": {"choices": [1, 2]}}}}},
            "the search of arm 'x' on adding-5 leads to 37 to 77 parameters, and equal = 'parameters' asks for one",
        ),
    ],
)
def test_mistakes_are_one_sentence(tiny: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        SweepDefinition.parse(tiny | changes, "sweeps/x.yaml")
    assert str(error.value).startswith("sweeps/x.yaml: ") and message in str(error.value)
    assert "\n" not in str(error.value)


def test_a_mistake_in_the_base_names_the_field(tiny: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="training: there is no field 'step'"):
        SweepDefinition.parse(override(tiny, {"base.training.step": 3}))


def test_grid_must_have_as_many_trials_as_cells(tiny: dict[str, Any]) -> None:
    grid = {"search": {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "points": 4}}, "sampler": "grid"}
    assert SweepDefinition.parse(tiny | grid | {"trials": None}).search_trials == 4
    with pytest.raises(UserError, match="trials = 3, but the grid has 4 cells"):
        SweepDefinition.parse(tiny | grid)


def test_plan_is_every_arm_on_every_task(tiny: dict[str, Any]) -> None:
    long = {"kind": "adding", "length": 9, "with": {"training.steps": 99}}
    plans = SweepDefinition.parse(tiny | {"tasks": [*tiny["tasks"], long]}).studies
    assert [plan.name for plan in plans] == ["adding-5/tanh", "adding-5/lstm", "adding-9/tanh", "adding-9/lstm"]
    config = plans[3].config({"optimizer.lr": 0.005}, seed=7)
    assert (config.cell.kind, config.cell.hidden_size, config.task.steps) == ("lstm", 4, 9)
    assert (config.optimizer.lr, config.seed, config.training.steps) == (0.005, 7, 99)
    assert plans[0].config({}, 0).training.steps == 10


def test_an_arm_wins_over_its_task(tiny: dict[str, Any]) -> None:
    task = {"kind": "adding", "length": 5, "with": {"cell.hidden_size": 8}}
    arms = {"small": {"cell.hidden_size": 2}, "plain": {}}
    small, plain = SweepDefinition.parse(tiny | {"tasks": [task], "arms": arms}).studies
    assert small.config({}, 0).cell.hidden_size == 2
    assert plain.config({}, 0).cell.hidden_size == 8


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_every_arm_starts_from_the_same_points(tiny: dict[str, Any], sampler: str) -> None:
    definition = SweepDefinition.parse(tiny | {"sampler": sampler, "trials": 12})
    tanh, lstm = (definition.planned_points(plan) for plan in definition.studies)
    assert tanh == lstm and len(tanh) == 12
    known = [point["optimizer.lr"] for point in tanh if point]
    assert len(known) == len(set(known)) == (12 if sampler == "random" else 4)


@pytest.mark.parametrize(("sampler", "known"), [("random", 20), ("qmc", 20), ("tpe", 6), ("gp", 6)])
def test_what_an_arm_alone_searches_leaves_the_shared_values_as_they_are(
    tiny: dict[str, Any], sampler: str, known: int
) -> None:
    """Slot by slot the arms stay paired in everything that they share, and no two draw their own values alike."""
    lstm = {"cell.kind": "lstm"}
    wider = {"search": {"cell.forget_bias": {"low": 0, "high": 5.0001}}}
    arms = {"plain": lstm, "one": lstm | BIAS, "two": lstm | wider}
    definition = SweepDefinition.parse(tiny | {"arms": arms, "trials": 20, "sampler": sampler})
    every = [definition.planned_points(plan) for plan in definition.studies]
    assert {len(points) for points in every} == {20}
    plain, one, two = ([point for point in points if point] for points in every)
    rates = [[point["optimizer.lr"] for point in points] for points in (plain, one, two)]
    assert rates[0] == rates[1] == rates[2]
    assert all("cell.forget_bias" not in point for point in plain)
    biases = [point["cell.forget_bias"] for point in (*one, *two)]
    assert len(set(biases)) == 2 * known and 0 <= min(biases) < 1 and 4 < max(biases) <= 5.0001


def test_an_arm_wins_over_its_task_with_what_it_searches_too(tiny: dict[str, Any]) -> None:
    task = {"kind": "adding", "length": 5, "with": {"training.batch_size": 8}}
    plan, *_ = SweepDefinition.parse(tiny | {"tasks": [task], "arms": {"a": {"search": BATCH}}}).studies
    assert plan.config({"training.batch_size": 2}, 0).training.batch_size == 2


def test_points_of_a_slot_stay_when_the_budget_grows(tiny: dict[str, Any]) -> None:
    few, many = (SweepDefinition.parse(tiny | {"trials": trials}) for trials in (2, 6))
    assert many.planned_points(many.studies[0])[:2] == few.planned_points(few.studies[0])


def test_points_differ_between_tasks_and_seeds(tiny: dict[str, Any]) -> None:
    tasks = [{"kind": "adding", "length": 5}, {"kind": "adding", "length": 6}]
    definitions = [SweepDefinition.parse(tiny | {"tasks": tasks, "seed": seed}) for seed in (0, 1)]
    points = [p["optimizer.lr"] for d in definitions for plan in d.studies[::2] for p in d.planned_points(plan)]
    assert len(set(points)) == len(points) == 12


def test_final_seeds_are_fresh(tiny: dict[str, Any]) -> None:
    definition = SweepDefinition.parse(tiny | {"seeds": 20, "seed": 5, "search_seeds": 1000})
    searched = range(definition.seed, definition.seed + definition.search_seeds)
    assert len(set(definition.final_seeds())) == 20 and not set(definition.final_seeds()) & set(searched)


def test_hash_names_what_is_run_and_not_how_fast(tiny: dict[str, Any]) -> None:
    base = SweepDefinition.parse(tiny).hash
    reordered = {"arms": dict(reversed(tiny["arms"].items()))}
    for same in ({"workers": 9}, {"budgets": {"smoke": {"trials": 1}}}, {"question": "Why?"}, reordered):
        assert SweepDefinition.parse(tiny | same).hash == base
    own = {"arms": tiny["arms"] | {"lstm": {"cell.kind": "lstm"} | BIAS}}
    both = {"clipping": {}, "truncation": {"window": 2}}
    orders = [{"base": tiny["base"] | {"remedies": dict(each)}} for each in (both.items(), reversed(both.items()))]
    assert len({SweepDefinition.parse(tiny | order).hash for order in orders}) == 2
    changes = (own, {"equal": "parameters"}, {"pruner": "median"})
    for other in (*changes, {"trials": 4}, {"seeds": 4}, {"seed": 1}, {"sampler": "tpe"}):
        assert SweepDefinition.parse(tiny | other).hash != base


def test_quickstart_compares_nine_remedies() -> None:
    definition = load_sweep_definition(QUICKSTART)
    assert {"tanh", "relu", "softsign", "lstm", "gru"} <= set(definition.arms)
    assert len(definition.arms) >= 9


def test_the_studies_are_worked_out_once_and_leave_no_trace(tiny: dict[str, Any]) -> None:
    """Neither in equality, hash, dump nor YAML; a copy with other arms has other studies."""
    asked, copied = SweepDefinition.parse(tiny), SweepDefinition.parse(tiny).model_copy()
    assert asked.studies is asked.studies and len(asked.studies) == 2
    assert "studies" not in vars(copied) and asked == copied and asked.hash == copied.hash
    assert asked.model_dump() == copied.model_dump() and asked.to_yaml() == copied.to_yaml()
    fewer = asked.model_copy(update={"arms": {"tanh": asked.arms["tanh"]}})
    assert [plan.arm for plan in fewer.studies] == ["tanh"] and len(asked.studies) == 2


def test_an_outline_is_the_sweep_without_its_configurations(tiny: dict[str, Any]) -> None:
    definition = SweepDefinition.parse(tiny)
    outline = Outline.from_json(definition.outline.to_json())
    assert outline == definition.outline and outline.hash == definition.hash
    assert [key.name for key in outline.studies] == [plan.name for plan in definition.studies]
    assert [key.study_name("final") for key in outline.studies] == [p.study_name("final") for p in definition.studies]
