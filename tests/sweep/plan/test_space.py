"""The search space: points stay inside, are spread as declared, and a grid visits every cell once."""

import math
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats

from rnnlab.common.errors import UserError
from rnnlab.sweep.plan.space import Dimension, grid_points, random_point, sobol_points, suggest

LOG = Dimension(low=1e-4, high=1e-1, log=True)


def draws(dimension: Dimension, count: int = 4000) -> list[Any]:
    generator = np.random.default_rng(0)
    return [dimension.draw(generator) for _ in range(count)]


def test_log_range_is_uniform_over_the_logarithm() -> None:
    values = np.log10(draws(LOG))
    assert stats.kstest(values, stats.uniform(loc=-4, scale=3).cdf).pvalue > 0.01


def test_range_is_uniform() -> None:
    assert stats.kstest(draws(Dimension(low=-1, high=3)), stats.uniform(loc=-1, scale=4).cdf).pvalue > 0.01


def test_whole_numbers_are_equally_likely_ends_included() -> None:
    values, counts = np.unique(draws(Dimension(low=1, high=4, integer=True)), return_counts=True)
    assert values.tolist() == [1, 2, 3, 4]
    assert stats.chisquare(counts).pvalue > 0.01


@pytest.mark.parametrize("integer", [False, True])
def test_rounding_leads_out_of_no_range(integer: bool) -> None:
    class Ends(np.random.Generator):
        """Draws the very end of a range."""

        def uniform(self, low: Any = 0.0, high: Any = 1.0, size: Any = None) -> Any:
            return high

    for high in range(2, 50):
        dimension = Dimension(low=1, high=high, log=True, integer=integer)
        assert dimension.draw(Ends(np.random.PCG64())) == high or not integer
        assert dimension.draw(Ends(np.random.PCG64())) <= high


def test_choices_are_equally_likely_and_keep_their_type() -> None:
    values = draws(Dimension(choices=[True, 2, 0.5, "a"]))
    assert {(type(value), value) for value in values} == {(bool, True), (int, 2), (float, 0.5), (str, "a")}


def test_yaml_exponents_without_a_point_are_numbers() -> None:
    assert Dimension.parse({"choices": ["1e-3", "2E+1", "tanh"]}).choices == [1e-3, 20.0, "tanh"]
    assert Dimension.parse({"low": "1e-4", "high": "1e-1"}).low == 1e-4


def test_random_point_belongs_to_its_seed() -> None:
    space = {"a": LOG, "b": Dimension(choices=[1, 2, 3])}
    assert random_point(space, 5) == random_point(space, 5)
    assert len({random_point(space, seed)["a"] for seed in range(100)}) == 100


def test_grid_visits_every_cell_once() -> None:
    space = {"a": Dimension(low=1e-3, high=1e-1, log=True, points=3), "b": Dimension(choices=["x", "y"])}
    cells = [(point["a"], point["b"]) for point in grid_points(space)]
    assert len(cells) == len(set(cells)) == 6
    assert sorted({a for a, _ in cells}) == pytest.approx([1e-3, 1e-2, 1e-1])


def test_grid_keeps_its_ends_inside_the_range() -> None:
    for low, high in [(1e-4, 1e-1), (3e-5, 0.7), (1e-7, 1e3)]:
        values = Dimension(low=low, high=high, log=True, points=7).grid()
        assert min(values) == low and max(values) == high


def test_suggest_notes_fixed_points_and_samples_the_others_inside() -> None:
    space = {"a": LOG, "b": Dimension(low=1, high=9, integer=True), "c": Dimension(choices=["x", "y"])}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    fixed = {"a": 0.0123, "b": 7, "c": "y"}
    study.enqueue_trial(fixed)
    trial = study.ask()
    assert suggest(space, trial) == fixed == trial.params
    free = suggest(space, study.ask())
    assert 1e-4 <= free["a"] <= 1e-1 and free["b"] in range(1, 10) and free["c"] in "xy"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"low": 1, "high": 1}, "low = 1 must be smaller than high = 1"),
        ({"low": 0, "high": 1, "log": True}, "above 0 where log = true"),
        ({"low": 0.5, "high": 3, "integer": True}, "must be whole where integer = true"),
        ({"low": 1}, "give either low and high, or choices"),
        ({"choices": [1, 2], "log": True}, "'choices' stands alone"),
        ({"choices": [1, 1]}, "names a value twice"),
        ({"choices": []}, "choices = [] is not allowed"),
        ({"lo": 1, "high": 2}, "did you mean 'low'?"),
        ({"low": math.nan, "high": 2}, "low = nan is not allowed"),
    ],
)
def test_mistakes_are_one_sentence(data: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as error:
        Dimension.parse(data)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_sobol_points_fill_the_space_more_evenly_than_random_ones() -> None:
    """Of 16 points, each sixteenth of every range holds one; and more points begin with the same ones."""
    space = {"a": Dimension(low=0, high=16), "b": Dimension(low=1e-4, high=1, log=True), "c": Dimension(choices=[1, 2])}
    points = sobol_points(space, 16, seed=3)
    assert sorted(int(point["a"]) for point in points) == list(range(16))
    assert sorted(int(-4 * math.log10(point["b"])) for point in points) == list(range(16))
    assert sum(point["c"] == 1 for point in points) == 8
    assert sobol_points(space, 11, seed=3) == points[:11] == sobol_points(space, 100, seed=3)[:11]
    assert sobol_points(space, 1, seed=3) == points[:1] != sobol_points(space, 1, seed=4)
