"""Two sweeps are held against each other seed by seed where they share seeds, and nothing depends on which is A."""

import math

import numpy as np
import pandas as pd
import pytest
from rows import ADDING, RECALL, run

from rnnlab.statistics.comparisons import holm, paired_contest, unpaired_contest
from rnnlab.statistics.two_sweeps import RESULTS, contrast_table, repeats_table, sides_table

SEEDS = range(8)
NOISE = np.random.default_rng(3).normal(size=(2, 20)) * 0.02


def sweep(gains: dict[str, float], seeds=SEEDS, which: int = 0, task=ADDING, **fields) -> pd.DataFrame:
    """Runs whose score, of which less is better, is lower by the gain of their arm."""
    return pd.DataFrame(
        [
            run(task, arm, seed=seed, score=0.2 - gain + NOISE[which, seed], **fields)
            for arm, gain in gains.items()
            for seed in seeds
        ]
    )


A = sweep({"tanh": 0.0, "gru": 0.0, "lstm": 0.0})
B = sweep({"gru": 0.1, "tanh": 0.0, "relu": 0.0}, which=1, decay_rate=-0.1)


def test_arms_that_both_have_are_compared_by_the_contest_of_the_report_and_corrected_for_the_task():
    table = contrast_table(A, B).set_index("arm")
    assert list(table.index) == ["gru", "tanh"] and table["paired"].tolist() == [True, True]
    for arm in ("gru", "tanh"):
        one, other = (-runs.loc[runs["arm"] == arm, "score"].to_numpy(float) for runs in (B, A))
        contest = paired_contest(one, other, np.random.default_rng(0))
        row = table.loc[arm]
        assert row[["difference", "difference_low", "difference_high"]].tolist() == pytest.approx(
            tuple(contest.difference)
        )
        assert row[["probability", "low", "high"]].tolist() == pytest.approx(tuple(contest.probability))
        assert row["p"] == pytest.approx(contest.p)
        assert row[["decay", "decay_low", "decay_high"]].tolist() == pytest.approx([0.1, 0.1, 0.1])
    assert table["p_task"].tolist() == pytest.approx(holm(table["p"].tolist()))


def test_the_other_way_round_every_difference_has_the_other_sign():
    there, back = contrast_table(A, B), contrast_table(B, A)
    for name in ("difference", "decay"):
        np.testing.assert_allclose(back[name], -there[name])
    np.testing.assert_allclose(back["probability"], 1 - there["probability"])
    np.testing.assert_allclose(back["p_task"], there["p_task"])


def test_seeds_that_one_alone_has_are_left_out_where_it_has_all_of_the_others():
    shared = contrast_table(A, B)
    pd.testing.assert_frame_equal(
        contrast_table(A, sweep({"gru": 0.1, "tanh": 0.0}, range(20), 1, decay_rate=-0.1)), shared
    )
    apart = contrast_table(A, sweep({"gru": 0.1}, range(4, 16), which=1)).iloc[0]
    contest = unpaired_contest(0.1 - NOISE[1, 4:16], -NOISE[0, :8], np.random.default_rng(0))
    assert (apart["paired"], apart["runs"], apart["other_runs"]) == (False, 12, 8)
    assert apart["p"] == pytest.approx(contest.p)


def test_tasks_are_families_of_their_own_and_what_one_alone_has_is_left_out():
    both = [pd.concat([runs, sweep({"gru": 0.0}, task=RECALL)]) for runs in (A, B)]
    table = contrast_table(*both)
    assert table[["task", "arm"]].apply(tuple, axis=1).tolist() == [
        *((ADDING.label, arm) for arm in ("gru", "tanh")),
        (RECALL.label, "gru"),
    ]
    assert table["p_task"].iloc[2] == table["p"].iloc[2] == 1.0
    assert contrast_table(A, sweep({"gru": 0.0}, task=RECALL)).empty


def test_rows_of_both_are_of_the_scores_that_the_difference_is_of():
    """A run that diverged in B counts with the worst of both, also where B has none as bad."""
    broken = B.copy()
    broken.loc[0, ["score", "outcome"]] = [math.nan, "diverged"]
    a = pd.concat([A, sweep({"lstm": -3.0})], ignore_index=True)
    sides = sides_table(a, broken)
    assert sides[["arm", "side"]].apply("".join, axis=1).tolist() == ["gruA", "gruB", "tanhA", "tanhB"]
    means = {(row["arm"], row["side"]): row["score"] for row in sides.to_dict("records")}
    for row in contrast_table(a, broken).to_dict("records"):
        assert row["difference"] == pytest.approx(means[row["arm"], "A"] - means[row["arm"], "B"])
    assert means["gru", "B"] > 0.3


def test_the_same_run_is_found_by_its_configuration_and_compared_to_the_last_bit():
    def runs(sweep: pd.DataFrame) -> pd.DataFrame:
        return sweep.assign(config_hash=[f"{arm}{seed}" for arm, seed in zip(sweep["arm"], sweep["seed"], strict=True)])

    a = runs(pd.concat([sweep({"gru": 0.0}, range(2), phase="search"), A.query("arm == 'tanh'")]))
    b = a.assign(arm="renamed", seconds=99.0, git_commit="other")  # neither name, nor time, nor code is a result
    assert repeats_table(a, b)["differs"].tolist() == [()] * 10
    b.loc[b["config_hash"] == "gru1", "score"] = np.nextafter(b.loc[b["config_hash"] == "gru1", "score"], 1)
    b.loc[b["config_hash"] == "tanh3", ["decay_rate", "outcome"]] = [math.nan, "diverged"]
    b.loc[b["config_hash"] == "tanh5", "outcome"] = "running"  # has not come to anything yet
    table = repeats_table(a, b)
    changed = table.loc[table["differs"].map(len) > 0]
    assert len(table) == 9 and changed[["phase", "seed"]].to_numpy().tolist() == [["final", 3], ["search", 1]]
    assert changed["differs"].tolist() == [("outcome", "decay_rate"), ("score",)]
    assert set(RESULTS) >= {"outcome", "score", "decay_rate"}
