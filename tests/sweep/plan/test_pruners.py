"""What a pruner cannot work with is refused when a sweep is planned."""

from typing import Any

import pytest

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.definition import SweepDefinition


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "nsga2", "pruner": "median"}, "pruner = 'median' weighs one objective, and sampler = 'nsga2'"),
        ({"pruner": "median", "search_seeds": 2}, "choose pruner = 'wilcoxon' or 'none', or search_seeds = 1"),
        ({"pruner": "hyperband", "search_seeds": 2}, "choose pruner = 'wilcoxon' or 'none', or search_seeds = 1"),
        ({"pruner": "wilcoxon"}, "cannot tell anything from search_seeds = 1: give at least 5"),
        ({"pruner": "hyperband"}, "needs training.steps above 3 × training.eval_every, and on adding-5 they are 10"),
        ({"pruner": "hyperbrand"}, "pruner = 'hyperbrand' is not allowed"),
        ({"search_seeds": 0}, "search_seeds = 0 is not allowed"),
        ({"search_seeds": 1001}, "search_seeds = 1001 is not allowed"),  # they would run into the fresh ones
    ],
)
def test_what_cannot_work_is_refused(tiny: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    search = {**tiny["search"], "optimizer.beta1": {"low": 0.0, "high": 0.9}}
    with pytest.raises(UserError) as error:
        SweepDefinition.parse(tiny | {"search": search} | changes)
    assert message in str(error.value) and "\n" not in str(error.value)
