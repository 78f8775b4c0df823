"""Score against cost: the front is what its definition says."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from rows import run

from rnnlab.report.tables import pareto_cells
from rnnlab.statistics.ablation import ablation_table, search_trials
from rnnlab.statistics.pareto import pareto_front, pareto_table
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.space import Dimension

SPACE = {"optimizer.lr": Dimension(low=1e-4, high=1e-1, log=True)}


def by_definition(points: np.ndarray) -> list[bool]:
    return [not any((other <= point).all() and (other < point).any() for other in points) for point in points]


@pytest.mark.parametrize("values", [3, 10, 10**6])
def test_the_front_is_that_of_its_definition(values: int) -> None:
    """Few values give many ties and equal points."""
    generator = np.random.default_rng(values)
    for n in (0, 1, 2, 5, 40):
        for _ in range(20):
            points = generator.integers(values, size=(n, 2)).astype(float)
            assert pareto_front(points).tolist() == by_definition(points)


def trial(number: int, objectives: list[float], cost: float, **fields: Any) -> list[dict[str, Any]]:
    """A search trial, a row a seed."""
    return [
        run(phase="search", seed=seed, trial=number, objective=objective, score=objective / 2, cost=cost, **fields)
        for seed, objective in enumerate(objectives)
    ]


def test_a_search_trial_is_one_row_however_many_seeds_it_has() -> None:
    rows = [
        *trial(0, [0.1, 0.3], 5.0),
        *(trial(1, [0.2], 5.0) + trial(1, [0.2], 5.0, outcome="diverged", diverged=True)),
        *(trial(2, [0.2], 5.0) + trial(2, [np.nan], np.nan, outcome="failed")),
        *(trial(3, [0.2], 5.0) + trial(3, [np.nan], np.nan, outcome="running")),
        *trial(4, [np.nan], np.nan, outcome="pruned"),
        *[run(seed=seed) for seed in range(2)],
    ]
    runs = pd.DataFrame(rows)
    trials = search_trials(runs)
    assert trials["outcome"].tolist() == ["finished", "diverged", "failed", "running", "pruned"]
    assert trials["objective"].iloc[0] == pytest.approx(0.2) and trials["score"].iloc[0] == pytest.approx(0.1)
    row = ablation_table(runs).iloc[0]
    assert (row["search_done"], row["search_failed"], row["search_diverged"]) == (3, 1, 1)


def test_every_arm_has_its_front_and_the_point_trained_again_comes_first(tiny) -> None:
    rows = [
        *trial(0, [0.4, 0.2], 1.0),
        *trial(1, [0.1, 0.1], 9.0),
        *trial(2, [0.3, 0.5], 4.0),  # dearer and worse than trial 0
        *trial(3, [0.05], 0.5, outcome="failed"),
        *trial(0, [0.9], 9.0, arm="gru"),
    ]
    table = pareto_table(pd.DataFrame(rows), SPACE)
    assert list(zip(table["arm"], table["trial"], strict=True)) == [("gru", 0), ("tanh", 1), ("tanh", 0)]
    assert table["cost"].tolist() == [9.0, 9.0, 1.0]
    cells = pareto_cells(table, SweepDefinition.parse(tiny | {"arms": {"tanh": {}, "gru": {"cell.kind": "gru"}}}))
    assert cells[0] == ["Arm", "optimizer.lr", "Objective", "mse", "Cost"]
    assert [row[0] for row in cells[1:]] == ["**gru**", "**tanh**", "tanh"]
