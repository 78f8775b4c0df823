"""Importance finds the hyperparameter that decides the score, and finds none in noise."""

import math

import numpy as np
import pandas as pd
import pytest

from rnnlab.report import importance as module
from rnnlab.report.importance import PREDICTABLE, importance, why_unknown
from rnnlab.report.tables import importance_cells
from rnnlab.sweep.plan.space import Dimension

SPACE = {
    "optimizer.lr": Dimension.parse({"low": 1e-5, "high": 1e-1, "log": True}),
    "training.batch_size": Dimension.parse({"choices": [8, 16, 32]}),
}


def trials(n: int = 40, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Random trials, the decimal logarithm of their learning rates, and their batch sizes."""
    generator = np.random.default_rng(seed)
    decades, sizes = generator.uniform(-5, -1, n), generator.choice([8.0, 16.0, 32.0], n)
    columns = {"param.optimizer.lr": 10**decades, "param.training.batch_size": sizes, "trial": range(n), "run_id": "x"}
    return pd.DataFrame(columns), decades, sizes


@pytest.fixture
def few_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two estimates are held against each other, any forest will do."""
    monkeypatch.setattr(module, "TREES", 16)


def test_the_hyperparameter_that_decides_takes_nearly_all_of_the_variance():
    search, decades, sizes = trials()
    for score, name in ((-abs(decades + 3), "optimizer.lr"), (sizes, "training.batch_size")):
        found = importance(search, pd.Series(score), SPACE)
        assert found is not None and found.predicted > 0.7 and found.shares[name] > 0.8
        assert sum(found.shares.values()) <= 1 + 1e-9


def test_a_logarithmic_range_is_weighed_by_its_decades():
    """The score changes once, at the middle of the decades. Over the learning rate itself, of which the lower half of
    the decades is a thousandth, the batch size would seem to decide everything.
    """
    search, decades, sizes = trials(60)
    found = importance(search, pd.Series(10.0 * (decades > -3) + sizes / 32), SPACE)
    assert found is not None and found.shares["optimizer.lr"] > 0.7


def test_noise_is_given_to_no_hyperparameter():
    generator = np.random.default_rng(1)
    search, *_ = trials(20)
    found = [importance(search, pd.Series(generator.normal(size=20)), SPACE) for _ in range(8)]
    assert all(one is not None and one.predicted < PREDICTABLE and one.shares == {} for one in found)


def test_exploded_scores_cannot_stretch_the_variance(few_trees):
    search, decades, _ = trials()
    plain, exploded = (importance(search, pd.Series(scores), SPACE) for scores in (decades, np.exp(decades * 50)))
    assert plain == exploded  # the same order, thus the same ranks


def test_trials_without_score_and_the_order_of_trials_do_not_matter(few_trees):
    search, decades, _ = trials()
    scores = pd.Series(decades)
    lost = pd.concat([search, search.iloc[:3].assign(trial=99)], ignore_index=True)
    with_lost = importance(lost.sample(frac=1, random_state=0), scores.reindex(lost.index), SPACE)
    assert with_lost == importance(search, scores, SPACE)


def test_a_choice_of_nothing_is_a_choice():
    search, _, sizes = trials()
    search["param.remedies.truncation.window"] = np.where(sizes == 8, math.nan, sizes)
    space = {"optimizer.lr": SPACE["optimizer.lr"], "remedies.truncation.window": Dimension(choices=[None, 16, 32])}
    found = importance(search, pd.Series(sizes), space)
    assert found is not None and found.shares["remedies.truncation.window"] > 0.8


@pytest.mark.parametrize(
    ("space", "n", "words"),
    [(dict(list(SPACE.items())[:1]), 100, "only optimizer.lr is searched"), (SPACE, 19, "need 20 trials")],
)
def test_what_cannot_be_estimated_is_not_and_says_why(space, n, words):
    search, decades, _ = trials(n)
    assert importance(search, pd.Series(decades), space) is None
    assert words in why_unknown(space, n) and why_unknown(SPACE, 20) == ""
    assert importance(trials(40)[0], pd.Series([0.5] * 40), SPACE) is None


def test_a_table_shows_the_arms_whose_trials_were_enough_and_dashes_where_they_say_nothing():
    columns = ["task", "arm", "predicted", "optimizer.lr", "training.batch_size"]
    rows = [["x", "a", 0.9, 0.75, 0.125], ["x", "b", -0.4, math.nan, math.nan], ["x", "c", *[math.nan] * 3]]
    header, *body = importance_cells(pd.DataFrame(rows, columns=columns))
    assert header[2:] == ["optimizer.lr", "training.batch_size"]
    assert body == [["a", "0.90", "0.75", "0.12"], ["b", "-0.40", "–", "–"]]
    assert importance_cells(pd.DataFrame(rows[2:], columns=columns)) == []
