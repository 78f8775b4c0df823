"""The comparison of two searches follows from the numbers, and two searches of one seed are a pair."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.genetic_search.compare import best_within, contest, found, spent
from experiments.genetic_search.figure import draw
from experiments.genetic_search.page import NARROW, page, verdict
from experiments.genetic_search.searches import SAMPLERS, definitions, search
from rnnlab.sweep.plan.samplers import startup_trials

RECORD = Path(__file__).parents[2] / "docs" / "results" / "genetic"


def searches(gain: float, dearer: float = 1.0, trials: int = 6) -> pd.DataFrame:
    """Eight pairs of searches; the genetic ones end lower by `gain`, and each of their trials costs as much more."""
    rows = []
    for seed in range(8):
        for sampler in SAMPLERS:
            genetic, noise = sampler == "genetic", np.random.default_rng([seed, sampler == "genetic"])
            for trial in range(trials):
                value = 0.5 - 0.05 * trial - genetic * gain + 0.01 * noise.normal()
                rows.append((sampler, seed, "search", trial, value, value, 10, 100 * dearer if genetic else 100, 1.0))
            last = rows[-1][5]
            rows += [(sampler, seed, "final", k, last, last, 10, 100, 1.0) for k in range(2)]
    names = ["sampler", "seed", "phase", "trial", "objective", "score", "steps", "cost", "seconds"]
    return pd.DataFrame(rows, columns=names)


def test_every_pair_starts_from_the_same_points_and_no_two_share_a_fresh_seed() -> None:
    planned = list(definitions(10))
    assert [d.sampler for d in planned] == [*SAMPLERS] * 10 and len({d.name for d in planned}) == 20
    for genetic, random in zip(planned[::2], planned[1::2], strict=True):
        assert (genetic.seed, genetic.search_trials, genetic.seeds) == (random.seed, random.search_trials, random.seeds)
        points = [each.planned_points(each.studies[0]) for each in (genetic, random)]
        known = startup_trials(genetic.search_trials)
        assert points[0][:known] == points[1][:known] and not any(points[0][known:]) and all(points[1])
    fresh = [seed for definition in planned[::2] for seed in definition.final_seeds()]
    assert len(set(fresh)) == len(fresh) and not set(fresh) & {definition.seed for definition in planned}


@pytest.mark.parametrize(
    ("gain", "said"),
    [(0.1, "**genetic search is better**"), (-0.1, "**random search is better**"), (0.0, "a difference is not shown")],
)
def test_the_verdict_follows_from_the_numbers(gain: float, said: str) -> None:
    (definition, *_) = definitions(1)
    runs = searches(gain)
    text = page(definition, runs)
    answers = [line for line in text.splitlines() if line.startswith("* At equal trials") or "cut off" in line]
    assert len(answers) == 3 and all(said in answer for answer in answers) and "nan" not in text
    assert contest(found(runs)).difference.value == pytest.approx(gain, abs=0.02)
    assert len(draw(runs).get_lines()) == 2 * (8 + 1) + 1


def test_the_page_of_record_is_what_its_numbers_give() -> None:
    runs = pd.read_csv(RECORD / "trials.csv")
    (definition, *_) = definitions(len(set(runs["seed"])))
    assert (RECORD / "report.md").read_text() == page(definition, runs)


def test_an_interval_that_leaves_out_0_beside_a_test_that_says_nothing_is_explained_and_nothing_else() -> None:
    runs = searches(0.0).assign(score=1.0, objective=1.0)
    for gains, explained in (([0.1] * 5 + [0.0] * 3, True), ([0.1] * 8, False), ([0.1, -0.1] * 4, False)):
        gain = np.where(runs["sampler"] == "genetic", np.array(gains)[runs["seed"]], 0.0)
        assert (NARROW in verdict(runs.assign(score=1.0 - gain))) is explained


def test_what_costs_more_is_cut_off_earlier() -> None:
    runs = searches(0.0, dearer=2.0)
    assert spent(runs)["multiply_adds"].tolist() == [8 * 6 * 200, 8 * 6 * 100]
    within = best_within(runs)
    first_half = runs.loc[(runs["phase"] == "search") & (runs["trial"] < 3)].groupby(["sampler", "seed"])
    assert within["genetic"].tolist() == first_half["objective"].min()["genetic"].tolist()
    assert bool((within["random"] < within["genetic"]).to_numpy().all())


@pytest.mark.slow
def test_a_search_is_run_and_read_back(workplace: Path, own_workers: None) -> None:
    (definition, _) = definitions(1, "smoke")
    runs = search(definition)
    assert runs["phase"].tolist() == ["final", "search", "search", "search"] and set(runs["steps"]) == {6.0}
    assert runs.loc[runs["phase"] == "search", "trial"].tolist() == [0, 1, 2]
    assert search(definition).equals(runs)  # nothing is trained again
