"""Whatever weakens a sweep is told, and a sound sweep is left in peace."""

import math
from typing import Any

import pandas as pd
import pytest
from rows import ADDING, run

from rnnlab.report.cautions import cautions
from rnnlab.statistics.ablation import ablation_table
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.outline import Planning
from rnnlab.tasks import TASKS

DEFINITION = {
    "name": "demo",
    "base": {"cell": {"kind": "vanilla"}},
    "tasks": [{"kind": "adding", "length": 30}],
    "arms": {"tanh": {}, "lstm": {"cell.kind": "lstm"}},
    "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}},
    "trials": 2,
    "seeds": 6,
}


def sound(**changes):
    """Runs that complete the definition."""
    return [
        run(arm=arm, phase=phase, seed=seed, **{"param.optimizer.lr": 3e-3, **changes})
        for arm in ("tanh", "lstm")
        for phase, n in (("search", 2), ("final", 6))
        for seed in range(n)
    ]


def told(rows, **changes):
    runs = pd.DataFrame(rows)
    return cautions(runs, ablation_table(runs), SweepDefinition.parse(DEFINITION | changes))


def test_a_sound_sweep_gives_no_cause():
    assert told(sound()) == []


def test_what_is_missing_is_counted_by_study():
    rows = [row for row in sound() if row["arm"] == "tanh" and row["seed"] != 1]
    (text,) = [line for line in told(rows) if "Not finished" in line]
    assert "adding-30/tanh (1 search trial and 1 final run)" in text and "adding-30/lstm (everything)" in text


def test_growth_is_told_with_its_code_and_a_warning_of_seeds_that_were_added():
    first, commit = Planning("2026-01-01 10:00", "a" * 40), "b" * 40 + "-dirty"
    runs = pd.DataFrame(sound())

    def grown(added):
        history = [first, Planning("2026-01-02 11:00", commit, added)]
        return cautions(runs, ablation_table(runs), SweepDefinition.parse(DEFINITION), history)

    assert cautions(runs, ablation_table(runs), SweepDefinition.parse(DEFINITION), [first]) == []
    (text,) = grown("arm gru")
    assert f"begun 2026-01-01 10:00 UTC at commit {'a' * 12} and" in text
    assert f"since: 2026-01-02 11:00 UTC at commit {'b' * 12}-dirty: arm gru. What" in text
    assert "too small" not in text and "too small" in grown("6 fresh seeds instead of 2")[0]


def test_a_task_that_was_not_reached_is_told_once():
    more = {"tasks": [*DEFINITION["tasks"], {"kind": "adding", "length": 60}]}
    assert told(sound(), **more) == ["Planned and not run to a result in any arm: adding-60."]


@pytest.mark.parametrize("phase", ["search", "final"])
@pytest.mark.parametrize("outcome", ["failed", "diverged"])
def test_failed_and_diverged_runs_are_told_in_either_phase(phase, outcome):
    rows = sound()
    hit = next(row for row in rows if row["phase"] == phase and row["arm"] == "lstm")
    hit |= {"outcome": outcome, "score": math.nan}
    texts = [line for line in told(rows) if outcome in line]
    assert len(texts) == 1 and texts[0].endswith(": adding-30/lstm (1).")
    assert texts[0].startswith("Search" if phase == "search" else "Final")


def test_few_seeds_are_told():
    rows = [row for row in sound() if row["phase"] == "search" or row["seed"] < 3]
    text, _ = told(rows, seeds=3)
    assert text.startswith("Few seeds (3 an arm)")


@pytest.mark.parametrize(("n", "silent"), [(5, False), (6, True)])
def test_seeds_too_few_to_show_any_difference_are_told_with_how_many_would_do(n, silent):
    """One comparison: the sign test over n seeds gives p = 2^(1-n) at best, which is 1/16 or 1/32."""
    texts = told([row for row in sound() if row["phase"] == "search" or row["seed"] < n], seeds=n)
    assert (texts == []) == silent
    if not silent:
        assert texts[0].startswith("5 seeds an arm cannot show any difference with tanh, however large")
        assert "p = 0.062 after correction for 1 comparison. 6 seeds could. Raise `seeds` in the file" in texts[0]


@pytest.mark.parametrize(
    ("rate", "side"), [(1.2e-4, "lower"), (1e-1, "upper"), (8e-2, "upper"), (5e-2, None), (2e-4, None)]
)
def test_a_learning_rate_at_the_edge_of_its_range_is_told(rate, side):
    texts = told(sound(**{"param.optimizer.lr": rate}))
    expected = f"adding-30/lstm ({rate:g}) and adding-30/tanh ({rate:g})"
    assert [expected in text and f"the {side} edge" in text for text in texts] == ([True] if side else [])


def test_what_an_arm_alone_searches_has_edges_in_that_arm_alone():
    arms = {"tanh": {}, "lstm": {"cell.kind": "lstm", "search": {"cell.forget_bias": {"low": 0, "high": 5}}}}
    texts = told(sound(**{"param.cell.forget_bias": 5.0}), arms=arms)
    assert [text for text in texts if "cell.forget_bias lies at the upper edge" in text] == texts
    assert texts[0].endswith(": adding-30/lstm (5).")


@pytest.mark.parametrize(("value", "told_of"), [(1, True), (4, False), (8, True)])
def test_the_ends_of_numeric_choices_are_edges(value, told_of):
    search = {"training.batch_size": {"choices": [1, 4, 8]}}
    rows = [row | {"param.training.batch_size": value} for row in sound()]
    assert bool(told(rows, search=search)) == told_of


def test_choices_without_order_have_no_edge():
    rows = [row | {"param.optimizer.schedule": "cosine"} for row in sound()]
    assert told(rows, search={"optimizer.schedule": {"choices": ["cosine", "constant"]}}) == []


def test_a_decay_that_no_rate_tells_is_told():
    rows = [row | {"decay_bent": float(row["arm"] == "lstm" and row["seed"] != 1)} for row in sound()]
    (text,) = told(rows)
    assert "bent" in text and text.endswith(": adding-30/lstm (R² 0.98).")
    copying = TASKS["copying"].parse({"length": 30})
    nothing: Any = {"decay_rate": math.nan, "decay_r2": math.nan, "decay_bent": math.nan}
    rows = [*sound(), run(copying, **nothing), run(seed=3, **nothing)]
    (text,) = [text for text in told(rows) if "No decay rate" in text]
    assert "of copying-30: with a loss at every step" in text and "[lagged]" in text


def test_seeds_that_were_run_twice_are_told():
    rows = [*sound(), run(ADDING, "lstm", seed=2, run_id="again")]
    assert any("More than one final run of the same seed: adding-30/lstm." in text for text in told(rows))


@pytest.mark.parametrize(
    ("commits", "words"), [(("a", "b"), "2 states of the code: a and b"), (("a-dirty",), "uncommitted")]
)
def test_code_that_a_commit_does_not_name_is_told(commits, words):
    rows = [row | {"git_commit": commits[k % len(commits)]} for k, row in enumerate(sound())]
    (text,) = told(rows)
    assert words in text
