"""What a sampler cannot do with is refused when a sweep is planned."""

from typing import Any

import pytest

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import SweepDefinition

GRID = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True, "points": 4}}
TWELVE = {
    "cell.hidden_size": {"low": 2, "high": 5, "integer": True},
    "optimizer.kind": {"choices": ["sgd", "adam", "rmsprop"]},
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "cmaes"}, "needs two of them in search, but there is only optimizer.lr"),
        ({"sampler": "cmaes", "search": {"cell.hidden_size": {"choices": [2, 3]}}}, "but there is none"),
        ({"sampler": "brute_force", "trials": None}, "search.optimizer.lr is a continuous range"),
        ({"sampler": "brute_force", "search": TWELVE}, "trials = 3, but the grid has 12 cells"),
        ({"sampler": "qmc", "trials": None}, "say how many points the qmc sampler tries"),
        ({"sampler": "qmc", "search": GRID}, "search.optimizer.lr.points is for sampler = 'grid'"),
    ],
)
def test_what_a_sampler_cannot_do_with_is_refused(tiny: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        SweepDefinition.parse(tiny | changes)
    assert message in str(error.value) and "\n" not in str(error.value)
