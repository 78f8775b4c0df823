"""Two definitions differ in what they come to, defaults included, and every difference says where it holds."""

from typing import Any

from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.differences import Difference, differences


def unlike(one: dict[str, Any], other: dict[str, Any], **arms: str) -> list[Difference]:
    a, b = SweepDefinition.parse(one), SweepDefinition.parse(other)
    return differences(a, b, arms or {arm: arm for arm in a.arms if arm in b.arms})


def test_what_comes_to_the_same_is_no_difference(tiny: dict[str, Any]) -> None:
    other = override(tiny, {"base.optimizer.beta1": 0.9, "arms.tanh.cell.residual": None})  # both the default
    other |= {"name": "other", "question": "Why?", "workers": 7, "tasks": [*tiny["tasks"], {"kind": "parity"}]}
    assert unlike(tiny, other) == []


def test_a_setting_is_told_once_with_where_it_holds(tiny: dict[str, Any]) -> None:
    other = override(tiny, {"seeds": 4, "base.training.steps": 20, "arms.lstm.optimizer.beta1": 0.8})
    other["search"] = {"optimizer.lr": {"low": 1e-3, "high": 1e-2, "log": True}}
    assert unlike(tiny, other) == [
        ("seeds", "2", "4", "the sweep"),
        ("training.steps", "10", "20", "everywhere"),
        (
            "search.optimizer.lr",
            *(f'{{"low": {low}, "high": 0.01, "log": true}}' for low in (1e-4, 1e-3)),
            "everywhere",
        ),
        ("optimizer.beta1", "0.9", "0.8", "adding-5/lstm"),
    ]


def test_what_one_of_them_searches_is_said_to_be_searched(tiny: dict[str, Any]) -> None:
    other = override(tiny, {"base.optimizer.lr": 0.003})
    other["search"] = {"init.recurrent_scale": {"low": 0.5, "high": 2.0}}
    found = {d.name: (d.a, d.b) for d in unlike(tiny, other)}
    assert found["optimizer.lr"] == ("searched", "0.003") and found["init.recurrent_scale"] == ("1.0", "searched")
    assert found["search.optimizer.lr"][1] == found["search.init.recurrent_scale"][0] == "–"


def test_two_arms_of_different_names_differ_in_their_settings(tiny: dict[str, Any]) -> None:
    assert ("cell.kind", '"vanilla"', '"lstm"', "everywhere") in unlike(tiny, tiny, tanh="lstm")
