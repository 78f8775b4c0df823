"""A sweep grows, and what would falsify its finished runs is refused by name."""

from dataclasses import replace
from typing import Any

import pytest

from rnnlab.common.errors import UserError
from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.growth import check_growth, grown
from rnnlab.sweep.plan.outline import Outline, Planning

LONGER = {"kind": "adding", "length": 6}
OWN = {"cell.kind": "lstm", "search": {"cell.forget_bias": {"low": 0, "high": 5}}}


def grow(before: dict[str, Any], after: dict[str, Any], retrained: bool = False) -> None:
    kept, given = (SweepDefinition.parse(data).outline for data in (before, after))
    check_growth(Outline.from_json(kept.to_json()), given, "tiny.yaml", "delete it", lambda: retrained)


@pytest.mark.parametrize(
    "more",
    [
        {"seeds": 7},
        {"arms": {"gru": {"cell.kind": "gru"}}},
        {"tasks": [LONGER, {"kind": "adding", "length": 5}]},
        {"workers": 9, "question": "Why?", "budgets": {"smoke": {"seeds": 1}}},
        {"search": {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True, "integer": False}}},
    ],
)
@pytest.mark.parametrize("retrained", [False, True])
def test_a_sweep_grows(tiny: dict[str, Any], more: dict[str, Any], retrained: bool) -> None:
    arms = {**more.get("arms", {}), **tiny["arms"]}  # a new one may stand in front
    grow(tiny, tiny | more | {"arms": arms}, retrained)


@pytest.mark.parametrize("sampler", ["random", "qmc", "tpe", "gp", "genetic", "nsga2"])
def test_trials_grow_until_final_runs_are_planned(tiny: dict[str, Any], sampler: str) -> None:
    tiny = tiny | {"sampler": sampler}
    grow(tiny, tiny | {"trials": 9})
    with pytest.raises(UserError, match="trials = 9 instead of 3 might find other best points"):
        grow(tiny, tiny | {"trials": 9}, retrained=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seeds": 1}, "seeds = 1 is less than 2"),
        ({"trials": 2}, "trials = 2 is less than 3"),
        ({"seed": 1}, "seed = 1 instead of 0"),
        ({"search_seeds": 2}, "search_seeds = 2 instead of 1"),
        ({"sampler": "tpe"}, 'sampler = "tpe" instead of "random"'),
        ({"pruner": "median"}, 'pruner = "median" instead of "none"'),
        ({"equal": "parameters"}, 'equal = "parameters" instead of "width"'),
        ({"arms": {"tanh": {"cell.activation": "tanh"}}}, "arms.lstm is gone"),
        ({"arms": {"tanh": {"cell.activation": "relu"}, "lstm": {"cell.kind": "lstm"}}}, "arms.tanh = "),
        ({"arms": {"tanh": {"cell.activation": "tanh"}, "lstm": OWN}}, "arms.lstm = "),
        ({"tasks": [LONGER]}, "tasks.adding-5 is gone"),
        ({"tasks": [{"kind": "adding", "length": 5, "with": {"training.steps": 9}}]}, "tasks.adding-5 = "),
        ({"search": {"optimizer.lr": {"low": 1e-5, "high": 1e-2, "log": True}}}, "search.optimizer.lr = "),
        ({"search": {"optimizer.lr": {"choices": [1e-3]}, "init.recurrent_scale": {"choices": [1.0]}}}, "search.opt"),
    ],
)
def test_what_falsifies_is_named(tiny: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match="not by growing alone") as error:
        grow(tiny, tiny | changes)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_the_base_is_named_field_by_field(tiny: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"base\.training\.steps = 20 instead of 10"):
        grow(tiny, override(tiny, {"base.training.steps": 20}))
    with pytest.raises(UserError, match=r"base\.optimizer\.beta1 = 0\.8 is new"):
        grow(tiny, override(tiny, {"base.optimizer.beta1": 0.8}))


def test_the_order_in_which_points_are_drawn_stays(tiny: dict[str, Any]) -> None:
    search = tiny["search"] | {"init.recurrent_scale": {"low": 1, "high": 2}}
    with pytest.raises(UserError, match="stands in another place"):
        grow(tiny | {"search": search}, tiny | {"search": dict(reversed(search.items()))})


def test_a_grid_brings_its_own_number_of_trials(tiny: dict[str, Any]) -> None:
    grids = [
        tiny | {"sampler": "grid", "trials": None, "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "points": n}}}
        for n in (3, 4)
    ]
    with pytest.raises(UserError, match=r"search\.optimizer\.lr = .*\"points\": 4"):
        grow(grids[0], grids[1])


def test_what_is_added_is_noted_with_its_start_and_going_on_is_not(tiny: dict[str, Any]) -> None:
    def start(day: int, **more: Any) -> Outline:
        outline = SweepDefinition.parse(tiny | more).outline
        return replace(outline, history=(Planning(f"day {day}", f"commit {day}"),))

    arms = {"gru": {"cell.kind": "gru"}, **tiny["arms"]}
    first, again = start(1), start(2)
    larger = start(3, arms=arms, tasks=[LONGER, *tiny["tasks"]], seeds=4, trials=5)
    kept = grown(grown(first, again), larger)
    assert grown(first, again).history == first.history and kept.hash == larger.hash
    added = "arm gru, task adding-6, 4 fresh seeds instead of 2 and 5 search trials instead of 3"
    assert kept.history == (Planning("day 1", "commit 1"), Planning("day 3", "commit 3", added))
    assert Outline.from_json(kept.to_json()).history == kept.history
    many = start(4, arms=arms | {f"tanh-{k}": {"cell.hidden_size": k} for k in range(5, 14)}, seeds=9, trials=5)
    assert grown(larger, many).history[-1].added.startswith("9 arms and 9 fresh seeds")
