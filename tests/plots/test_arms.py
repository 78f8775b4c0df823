"""Figures of sweeps draw every arm with its numbers, the best on top, and leave no run out without a word."""

import math

import numpy as np
import pandas as pd
import pytest
from drawn import legend, rows, xs, ys
from matplotlib.collections import PathCollection
from rows import ADDING, RECALL, run

from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.plots.arms import ABOVE
from rnnlab.statistics.ablation import ablation_table
from rnnlab.tasks import Task


def scored_arms(task: Task, scores: dict[str, list[float]]) -> pd.DataFrame:
    """Fresh runs with these scores; one without a number still runs."""
    return pd.DataFrame(
        [
            run(task, arm, seed=seed, score=score, outcome="running" if math.isnan(score) else "finished")
            for arm, values in scores.items()
            for seed, score in enumerate(values)
        ]
    )


@pytest.mark.parametrize(
    ("task", "order"), [(RECALL, ["high", "mid", "low", "lost"]), (ADDING, ["low", "mid", "high", "lost"])]
)
def test_forest_puts_the_best_arm_on_top_and_arms_without_score_last(task, order):
    runs = scored_arms(task, {"mid": [0.5, 0.9], "lost": [math.nan], "high": [0.995, 0.999], "low": [0.001, 0.002]})
    table = ablation_table(runs).set_index("arm").loc[order]
    ax = plots.ablation_forest(runs)
    assert rows(ax) == order
    points = {ys(line)[0]: xs(line)[0] for line in ax.lines if line.get_linestyle() == "None"}
    np.testing.assert_array_equal([points[height] for height in (3, 2, 1, 0)], table["score"])
    intervals = [xs(line) for line in ax.lines if len(set(ys(line))) == 1 and len(xs(line)) == 2]
    np.testing.assert_array_equal(intervals[::-1], table[["low", "high"]])
    verticals = {line.get_label(): xs(line)[0] for line in ax.lines if xs(line)[0] == xs(line)[-1]}
    assert verticals["trivial baseline"] == task.baseline.score and verticals["solved criterion"] == task.solved_at
    assert [text.get_text() for text in ax.texts] == ["no score"]
    markers = {ys(line)[0]: line.get_marker() for line in ax.lines if line.get_linestyle() == "None"}
    assert [markers[height] for height in (3, 2, 1, 0)] == ["o", "s", "s", "s"]
    assert task.score_name in ax.get_xlabel() and task.label in ax.get_title(loc="left")


def test_scores_that_span_decades_get_a_log_axis():
    wide = plots.ablation_forest(scored_arms(ADDING, {"a": [1e-4], "b": [0.1]}))
    narrow = plots.ablation_forest(scored_arms(RECALL, {"a": [0.6], "b": [0.9]}))
    zero = plots.ablation_forest(scored_arms(ADDING, {"a": [0.0], "b": [0.9]}))
    assert [ax.get_xscale() for ax in (wide, narrow, zero)] == ["log", "linear", "linear"]


TRIALS = [
    *[("b", 0.01, 0.3, "finished"), ("a", 0.02, 0.2, "finished"), ("a", 0.001, 0.1, "solved")],
    *[("a", 0.5, 0.8, "diverged"), ("b", 0.4, math.nan, "pruned"), ("a", 0.03, math.nan, "running")],
    *[("b", 0.004, math.nan, "failed"), ("b", 0.07, math.nan, "finished")],  # the last has lost its score
]


def trial(number: int, seed: int = 0) -> dict:
    arm, rate, score, outcome = TRIALS[number]
    fields = {"trial": number, "param.optimizer.lr": rate}
    return run(arm=arm, phase="search", seed=seed, score=score, outcome=outcome, **fields)


def test_lr_sensitivity_draws_every_search_trial_as_a_point_or_as_a_mark_that_says_why_not():
    ax = plots.lr_sensitivity(pd.DataFrame([*map(trial, range(len(TRIALS))), run(arm="b", score=0.9)]))
    drawn = {line.get_label(): (xs(line), ys(line)) for line in ax.lines}
    assert drawn == {"a": ([0.001, 0.02], [0.1, 0.2]), "b": ([0.01], [0.3])}
    marks = [np.asarray(marks.get_offsets()) for marks in ax.collections if isinstance(marks, PathCollection)]
    np.testing.assert_allclose([x for some in marks for x in some[:, 0]], [0.5, 0.4, 0.004, 0.07, 0.03], rtol=0.03)
    assert {y for some in marks for y in some[:, 1]} == {ABOVE}
    assert legend(ax) == ["a", "b", "1 diverged", "1 pruned", "2 failed", "1 running"]
    assert ax.get_xscale() == "log" and ax.get_ylabel() == "mse"
    assert all(ax.get_xlim()[0] < x < ax.get_xlim()[1] for some in marks for x in some[:, 0])


def test_lr_sensitivity_draws_a_trial_on_several_seeds_once():
    ax = plots.lr_sensitivity(pd.DataFrame([trial(0), {**trial(0, seed=1), "score": 0.5}, trial(4), trial(4, seed=1)]))
    assert [(xs(line), ys(line)) for line in ax.lines] == [([0.01], [0.4])]
    assert legend(ax) == ["b", "1 pruned"]


def test_marks_of_arms_at_one_learning_rate_do_not_hide_one_another():
    both = [{**trial(3), "arm": arm} for arm in ("a", "b")]
    (marks,) = plots.lr_sensitivity(pd.DataFrame(both)).collections
    assert len(set(np.asarray(marks.get_offsets())[:, 0])) == 2


def test_decay_by_arm_draws_final_runs_and_means_from_slow_to_fast():
    decays = [("fast", -0.3, -0.4), ("fast", -0.5, -0.6), ("slow", -0.01, 0.0), ("slow", -0.03, -0.2)]
    final = [
        run(arm=arm, seed=k, decay_rate=rate, decay_rate_init=start) for k, (arm, rate, start) in enumerate(decays)
    ]
    ax = plots.decay_by_arm(pd.DataFrame([*final, run(arm="slow", phase="search", decay_rate=9.0)]))
    assert rows(ax) == ["slow", "fast"]
    _, *drawn = ax.lines  # the first is the line at zero
    points, means, starts = drawn[::3], drawn[1::3], drawn[2::3]
    assert [sorted(xs(line)) for line in points] == [[-0.5, -0.3], [-0.03, -0.01]]
    assert [xs(line)[0] for line in means] == pytest.approx([-0.4, -0.02])
    assert [xs(line)[0] for line in starts] == pytest.approx([-0.5, -0.1])
    assert all(abs(height - y) < 0.5 for y, line in enumerate(points) for height in ys(line))


@pytest.mark.parametrize(
    "draw", [plots.ablation_forest, plots.lr_sensitivity, plots.decay_by_arm, plots.solve_curves, plots.win_matrix]
)
def test_several_tasks_or_a_missing_phase_are_refused(draw):
    with pytest.raises(UserError, match=r"adding-30, delayed_recall-20.*choose one"):
        draw(pd.DataFrame([run(), run(RECALL)]))
    with pytest.raises(UserError, match="hold none of phase"):
        draw(pd.DataFrame([run(phase="other")]))
