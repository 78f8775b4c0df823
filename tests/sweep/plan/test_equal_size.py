"""Arms of equal parameter count: the width that is chosen is the best there is, and what is run has it."""

from typing import Any

import pytest

from rnnlab.cells import CELLS
from rnnlab.config.config import Config
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.equal_size import matching_width
from rnnlab.training.models import build_model, count_parameters

TASK = {"kind": "adding", "length": 10}


def built(config: Config) -> int:
    return sum(p.numel() for p in build_model(config).parameters() if p.requires_grad)


@pytest.mark.parametrize("width", [3, 47])
@pytest.mark.parametrize("cell", [*({"kind": kind} for kind in CELLS), {"kind": "lstm", "proj_size": 2}])
def test_no_other_width_comes_closer(cell: dict[str, Any], width: int) -> None:
    base = Config.parse({"task": TASK, "cell": {"kind": "vanilla", "hidden_size": width}})
    arm = Config.parse({"task": TASK, "cell": cell})
    target = count_parameters(base)

    def distance(hidden_size: int) -> int:
        resized = arm.cell.model_copy(update={"hidden_size": hidden_size})
        return abs(count_parameters(arm.model_copy(update={"cell": resized})) - target)

    chosen = matching_width(arm, base)
    assert distance(chosen) == min(map(distance, range(1, 600)))
    assert chosen < 599


@pytest.mark.parametrize("layers", [1, 2])
def test_what_is_run_has_the_width_and_nearly_as_many_parameters(tiny: dict[str, Any], layers: int) -> None:
    tiny["base"] |= {"cell": {"kind": "vanilla", "hidden_size": 30}, "model": {"num_layers": layers}}
    symbols = {"kind": "copying", "length": 5, "with": {"cell.hidden_size": 50}}
    arms = {"tanh": {}, "lstm": {"cell.kind": "lstm"}, "deep": {"cell.kind": "gru", "model.num_layers": 3}}
    changes = {"equal": "parameters", "arms": arms, "tasks": [TASK, symbols]}
    plans = SweepDefinition.parse(tiny | changes).studies
    configs = {plan.name: plan.config({"optimizer.lr": 1e-3}, 0) for plan in plans}
    for task, width in (("adding-10", 30), ("copying-5", 50)):  # a task may have a width of its own
        target = built(configs[f"{task}/tanh"])
        assert configs[f"{task}/tanh"].cell.hidden_size == width
        for arm in ("lstm", "deep"):
            assert configs[f"{task}/{arm}"].cell.hidden_size < width
            assert built(configs[f"{task}/{arm}"]) == pytest.approx(target, rel=0.12)  # one unit is a lot here


def test_at_equal_width_arms_keep_theirs(tiny: dict[str, Any]) -> None:
    arms = {"tanh": {}, "lstm": {"cell.kind": "lstm"}, "wide": {"cell.hidden_size": 7}}
    plans = SweepDefinition.parse(tiny | {"arms": arms}).studies
    assert [plan.config({}, 0).cell.hidden_size for plan in plans] == [4, 4, 7]
