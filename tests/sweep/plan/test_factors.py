"""Every factor of a definition is told with its role, and each value in one place."""

import pytest

from rnnlab.report.tables import factor_cells
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.factors import factors, plain_arm

DEFINITION = {
    "name": "demo",
    "base": {"cell": {"kind": "vanilla"}, "training": {"steps": 300, "batch_size": 8}},
    "tasks": [
        {"kind": "adding", "length": 30, "with": {"training.steps": 500}},
        {"kind": "delayed_recall", "length": 9},
    ],
    "arms": {"tanh": {}, "clip": {"remedies.clipping.by": "norm", "remedies.clipping.threshold": 1.0}},
    "search": {
        "optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True},
        "training.batch_size": {"choices": [8, 16]},
    },
    "trials": 2,
}


def test_arms_are_scientific_what_is_searched_is_nuisance_and_the_rest_is_fixed():
    found = {(role, name): values for role, name, values in factors(SweepDefinition.parse(DEFINITION))}
    assert found["scientific", "arm"] == (
        "tanh (the base as it is); clip (`remedies.clipping.by` = norm, `remedies.clipping.threshold` = 1.0)"
    )
    assert (
        found["scientific", "task"] == "adding (`length` = 30, `training.steps` = 500); delayed_recall (`length` = 9)"
    )
    assert "from 0.0001 to 0.1, logarithmic" in found["nuisance", "`optimizer.lr`"]
    assert "one of 8 and 16" in found["nuisance", "`training.batch_size`"]
    assert found["fixed", "settings"] == "`cell.kind` = vanilla, `training.steps` = 300"  # the batch size is searched


def test_what_an_arm_alone_searches_is_nuisance_and_counted():
    own = {"init.recurrent_scale": {"low": 0.5, "high": 2}}
    arms = {"tanh": {}, "one": {"search": own}, "two": {"cell.activation": "relu", "search": own}}
    found = {(role, name): values for role, name, values in factors(SweepDefinition.parse(DEFINITION | {"arms": arms}))}
    assert found["nuisance", "`init.recurrent_scale`"] == "searched, from 0.5 to 2, in one and two alone"
    assert "alike for every arm" in found["nuisance", "`optimizer.lr`"]
    assert found["fixed", "search budget"].startswith(
        "2 trials in every arm, over 2 hyperparameters in tanh, over 3 hyperparameters in one and two"
    )
    equal = factors(SweepDefinition.parse(DEFINITION))
    assert ("fixed", "search budget", "2 trials in every arm, over 2 hyperparameters") in equal


def test_an_arm_that_only_searches_something_of_its_own_is_not_plain():
    arms = {"a": {"search": {"init.recurrent_scale": {"low": 0.5, "high": 2}}}, "b": {"cell.kind": "lstm"}}
    assert plain_arm(SweepDefinition.parse(DEFINITION | {"arms": arms})) is None


def test_a_single_task_is_fixed():
    found = factors(SweepDefinition.parse(DEFINITION | {"tasks": DEFINITION["tasks"][:1]}))
    assert ("fixed", "task") in {(factor.role, factor.name) for factor in found}


def test_the_table_has_a_row_for_every_factor():
    definition = SweepDefinition.parse(DEFINITION)
    assert [row[1] for row in factor_cells(definition)[1:]] == [factor.values for factor in factors(definition)]


@pytest.mark.parametrize(
    ("arms", "plain"),
    [
        ({"tanh": {}, "relu": {"cell.activation": "relu"}}, "tanh"),
        ({"lstm": {"cell.kind": "lstm"}, "relu": {"cell.activation": "relu"}}, None),
    ],
)
def test_the_plain_arm_is_the_one_that_changes_nothing(arms, plain):
    assert plain_arm(SweepDefinition.parse(DEFINITION | {"arms": arms})) == plain
