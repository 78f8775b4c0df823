"""Runs that train together, held against each of them alone."""

from collections.abc import Sequence
from typing import Any

import torch

from rnnlab.config.config import Config
from rnnlab.config.shape import is_joinable, shape
from rnnlab.training.population import Population
from rnnlab.training.progress import Progress
from rnnlab.training.result import Result
from rnnlab.training.runs import run

BASE: dict[str, Any] = {
    "task": {"kind": "adding", "length": 9},
    "cell": {"kind": "vanilla", "hidden_size": 7},
    "training": {"steps": 4, "eval_every": 2, "batch_size": 5, "eval_examples": 8, "test_examples": 8},
    "recording": {"points": 2},
}


def configs(count: int, **changes: Any) -> list[Config]:
    """Runs that differ in rate, seed and threshold; two share their data."""
    data = {**BASE, **changes}
    return [
        Config.parse({**data, "seed": k // 2, "optimizer": {**data.get("optimizer", {}), "lr": 10.0 ** -(1 + k % 4)}})
        for k in range(count)
    ]


def train(chosen: Sequence[Config]) -> list[Result]:
    """Train in one population."""
    ended: dict[int, Result] = {}

    def end(member: Progress, error: Exception | None) -> None:
        if error is not None:
            raise error
        ended[id(member)] = member.finish()

    population, members = Population(end), [Progress(config) for config in chosen]
    for member in members:
        population.join(member)
    while population.members:
        population.advance()
    return [ended[id(member)] for member in members]


def assert_same(one: Result, other: Result) -> None:
    assert one.model is not None and other.model is not None
    for (name, mine), theirs in zip(one.model.state_dict().items(), other.model.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs), name
    assert str(one.history) == str(other.history)
    assert (one.outcome, one.steps, str(one.test_loss)) == (other.outcome, other.steps, str(other.test_loss))
    if one.profile is None or other.profile is None:
        assert one.profile is other.profile
    else:
        assert one.profile.equals(other.profile)


def assert_company_changes_nothing(chosen: Sequence[Config], passes: list[int]) -> None:
    assert len({shape(config) for config in chosen}) == 1
    together, reversed_ = train(chosen), train(chosen[::-1])[::-1]
    assert (max(passes, default=0) == len(chosen)) == is_joinable(chosen[0])
    for k in sorted({0, 1, 2, len(chosen) // 2, len(chosen) - 1} & set(range(len(chosen)))):
        alone = run(chosen[k])
        assert_same(alone, together[k])
        assert_same(alone, reversed_[k])
