"""Gradient health and success: the correlation of textbooks, and arms that differ do not pass for evidence."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from rnnlab.statistics.gradient_health import _weighted_spearman, health_table, over_arms, within_groups
from rnnlab.tracking.reader import early_decay, load_profile, load_sweep


def clusters(arms: int, runs: int, generator: np.random.Generator, spread: float = 2.0) -> list[np.ndarray]:
    """Decay and score of runs in arms that differ in both, without any relation."""
    return list(generator.normal(size=(arms, 1, 2)) * spread + generator.normal(size=(arms, runs, 2)))


def test_over_all_runs_it_is_spearmans_correlation():
    arms = clusters(6, 5, np.random.default_rng(0))
    arms[0] = np.round(arms[0])  # with ties
    everything = np.concatenate(arms)
    assert over_arms(arms).value == pytest.approx(stats.spearmanr(everything[:, 0], everything[:, 1])[0])


def test_a_resample_of_arms_has_the_correlation_of_the_runs_that_it_draws():
    generator = np.random.default_rng(9)
    arms = [values[: 3 + k] for k, values in enumerate(clusters(4, 6, generator))]
    arms[0], arms[1][:, 0] = np.round(arms[0]), -np.inf  # with ties
    picks = generator.integers(len(arms), size=(20, len(arms)))
    counts = np.array([np.bincount(pick, minlength=len(arms)) for pick in picks])
    drawn = [np.concatenate([arms[k] for k in pick]) for pick in picks]
    expected = [
        stats.spearmanr(values[:, 0], values[:, 1])[0] if np.ptp(values[:, 1]) else math.nan for values in drawn
    ]
    assert _weighted_spearman(arms, counts) == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_within_one_group_it_is_spearmans_correlation():
    (group,) = clusters(1, 12, np.random.default_rng(1))
    assert within_groups([group]).value == pytest.approx(stats.spearmanr(group[:, 0], group[:, 1])[0])


def test_within_groups_what_sets_groups_apart_does_not_matter():
    groups = clusters(4, 8, np.random.default_rng(2))
    moved = [group * (1, 3) + (100 * k, -100 * k) for k, group in enumerate(groups)]
    assert within_groups(moved) == within_groups(groups)
    # Simpson's paradox: the more in every group, the less over all of them.
    rising = [np.column_stack([np.arange(5) + 10 * k, np.arange(5) - 10 * k]) for k in range(6)]
    assert within_groups(rising).value == pytest.approx(1) and over_arms(rising).value < -0.8


def test_a_group_without_spread_says_nothing():
    groups = clusters(2, 8, np.random.default_rng(3))
    assert within_groups([*groups, np.array([[1.0, 2.0], [1.0, 5.0], [1.0, 9.0]])]) == within_groups(groups)


def test_too_few_arms_have_no_interval_and_too_few_runs_no_correlation():
    value, low, high = over_arms(clusters(4, 9, np.random.default_rng(4)))
    assert -1 <= value <= 1 and math.isnan(low) and math.isnan(high)
    assert all(math.isnan(x) for x in within_groups(clusters(1, 4, np.random.default_rng(4))))
    assert all(math.isnan(x) for x in over_arms([]))


def test_arms_that_differ_by_chance_are_rarely_taken_for_evidence(monkeypatch):
    """Eight arms of 12 runs each, which differ in decay and score without relation: an interval that takes the 96 runs
    for independent misses zero more than half of the time.
    """
    monkeypatch.setattr("rnnlab.statistics.gradient_health.RESAMPLES", 199)
    generator = np.random.default_rng(5)
    repeats = 60
    samples = [clusters(8, 12, generator) for _ in range(repeats)]
    over = [low <= 0 <= high for _, low, high in map(over_arms, samples)]
    within = [low <= 0 <= high for _, low, high in map(within_groups, samples)]
    naive = [float(np.asarray(stats.spearmanr(*np.concatenate(arms).T))[1]) > 0.05 for arms in samples]
    assert np.mean(naive) < 0.6
    # Eight arms are few: about 0.92. 2.5 standard errors over that many repeats are 0.09.
    assert np.mean(over) > 0.83 and np.mean(within) > 0.86


def test_a_relation_within_arms_is_found():
    generator = np.random.default_rng(6)
    arms = [values + np.outer(generator.normal(size=12), (1.5, 1.5)) for values in clusters(5, 12, generator)]
    value, low, _ = within_groups(arms)
    assert 0.4 < value < 0.9 and low > 0


def runs(**columns) -> pd.DataFrame:
    frame = pd.DataFrame({"phase": "final", "decay_rate_early": math.nan, **columns})
    return frame.assign(run_id=[f"{k:03}" for k in range(len(frame))])


def test_settings_that_set_the_search_apart_from_the_fresh_seeds_are_no_relation_within_arms():
    """All trials share a seed, thus one decay, and score worse than the fresh seeds: they are not of one kind."""
    generator = np.random.default_rng(7)
    search = runs(arm="lstm", phase="search", decay_rate_init=-0.5, goodness=generator.normal(-5, 1, 20))
    final = runs(arm="lstm", decay_rate_init=generator.normal(-0.2, 0.05, 10), goodness=generator.normal(0, 1, 10))
    both = pd.concat([search, final], ignore_index=True)
    row = health_table(both, both.loc[:, "goodness"]).iloc[0]
    assert row["all"] > 0.6 and row["within_low"] < 0 < row["within_high"]


def test_runs_without_either_number_are_left_out_and_counted_so():
    frame = runs(arm=["a", "a", "b", "b"], decay_rate_init=[-0.1, math.nan, -0.3, -0.2])
    row = health_table(frame, pd.Series([1.0, 2.0, math.nan, 3.0])).iloc[0]
    assert (row["runs"], row["arms"]) == (2, 2)


def test_the_order_of_the_runs_does_not_matter():
    generator = np.random.default_rng(8)
    frame = runs(arm=list("abcdef") * 4, decay_rate_init=generator.normal(size=24))
    scores = pd.Series(generator.normal(size=24))
    mixed = frame.sample(frac=1, random_state=1)
    pd.testing.assert_frame_equal(health_table(mixed, scores), health_table(frame, scores))


def test_early_is_the_last_measurement_within_the_first_share_of_training(small_sweep, monkeypatch):
    frame = load_sweep("small", small_sweep).query("task == 'adding-8' and outcome != 'failed'")
    assert np.isnan(early_decay(frame, small_sweep)).all()  # of 8 updates, none lies in the first 5%
    for share, recorded in ((0.5, 1), (0.9, 2)):
        monkeypatch.setattr("rnnlab.tracking.reader.EARLY", share)
        early = early_decay(frame, small_sweep)
        assert len(early) == 6 and np.isfinite(early).all()
        for found, run_id in zip(early, frame["run_id"], strict=True):
            profile = load_profile(str(run_id), small_sweep)
            assert profile["train_step"].values.tolist() == [0, 2, 7]
            top = profile["log10_grad_norm_by_lag"].isel(step=recorded, layer=-1).sel(direction="forward", state="h")
            slope = np.polyfit(profile["lag"], top, 1)[0]
            assert found == pytest.approx(slope, rel=1e-4)  # profiles are kept in float32
