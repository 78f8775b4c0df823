"""Budgets: a sweep of another size and another name, which its own file reproduces."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rnnlab.commands.resolve import resolve
from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import SweepDefinition, load_sweep_definition

WriteSweep = Callable[..., Path]
SMOKE = {"trials": 1, "tasks": [{"kind": "delayed_recall", "length": 4}], "base.training": {"steps": 2}}


def test_a_budget_replaces_fields_and_changes_those_of_the_base(write_sweep: WriteSweep) -> None:
    path = write_sweep(budgets={"smoke": SMOKE | {"base.cell.hidden_size": 2}})
    full, smoke = load_sweep_definition(path), load_sweep_definition(path, "smoke")
    assert (full.name, full.search_trials, full.base["training"]["steps"]) == ("tiny", 3, 10)
    assert (smoke.name, smoke.search_trials, smoke.seeds) == ("tiny-smoke", 1, full.seeds)
    assert smoke.base["training"] == full.base["training"] | {"steps": 2}
    assert [plan.config({}, 0).cell.hidden_size for plan in smoke.studies] == [2, 2]
    assert {plan.task for plan in smoke.studies} == {"delayed_recall-4"}
    assert smoke.hash != full.hash


def test_what_a_budget_came_to_can_be_read_again(write_sweep: WriteSweep, tmp_path: Path) -> None:
    arms = {"tanh": {}, "lstm": {"cell.kind": "lstm", "search": {"cell.forget_bias": {"low": 0, "high": 5}}}}
    search = {"optimizer.lr": {"low": 1e-7, "high": 1e20, "log": True}, "optimizer.schedule": {"choices": ["cosine"]}}
    path = write_sweep(arms=arms, search=search, equal="parameters", budgets={"smoke": SMOKE})
    smoke = load_sweep_definition(path, "smoke")
    again = tmp_path / "again.yaml"
    again.write_text(smoke.to_yaml())
    assert load_sweep_definition(again) == smoke
    assert load_sweep_definition(again).studies == smoke.studies


def test_one_run_of_a_budget_is_found(write_sweep: WriteSweep) -> None:
    path = write_sweep(budgets={"smoke": SMOKE})
    assert resolve(path, [], arm="lstm", budget="smoke").task.label == "delayed_recall-4"
    assert resolve(path, [], arm="lstm").task.label == "adding-5"


@pytest.mark.parametrize(
    ("budgets", "message"),
    [
        ({}, "budget 'smoke' is not among the sweep's budgets: the sweep declares none, so leave --budget out"),
        ({"smokes": {}}, "budget 'smoke' is not among the sweep's budgets: did you mean 'smokes'?"),
        ({"smoke": {"trails": 3}}, "there is no field 'trails': did you mean 'trials'?"),
        ({"smoke": {"name": "x"}}, "budgets.smoke.name: a budget has its sweep's name and its own"),
        ({"smoke": {"base": {}}}, "budgets.smoke.base: name the fields of the base, such as base.training.steps"),
        ({"smoke": {"base.training.step": 3}}, "there is no field 'step': did you mean 'steps'?"),
        ({"smoke": 3}, "budgets.smoke = 3 is not allowed"),
        ({"smo/ke": {}}, "name 'tiny-smo/ke' is not allowed"),
    ],
)
def test_mistakes_are_one_sentence(write_sweep: WriteSweep, budgets: Any, message: str) -> None:
    with pytest.raises(UserError) as error:
        load_sweep_definition(write_sweep(budgets=budgets), "smoke")
    assert message in str(error.value) and "\n" not in str(error.value)


def test_a_mistake_in_a_budget_is_found_whichever_budget_is_asked_for(write_sweep: WriteSweep) -> None:
    with pytest.raises(UserError, match=r"--budget smoke: .*trials = 0 is not allowed"):
        load_sweep_definition(write_sweep(budgets={"smoke": {"trials": 0}}))


def test_a_single_experiment_has_no_budgets(tmp_path: Path) -> None:
    path = tmp_path / "one.yaml"
    path.write_text("task: {kind: adding}\ncell: {kind: gru}\n")
    with pytest.raises(UserError, match="--task, --arm and --budget pick from a sweep"):
        resolve(path, [], budget="smoke")


def test_budgets_are_no_part_of_what_is_run(tiny: dict[str, Any]) -> None:
    assert SweepDefinition.parse(tiny | {"budgets": {"smoke": SMOKE}}).studies == SweepDefinition.parse(tiny).studies
