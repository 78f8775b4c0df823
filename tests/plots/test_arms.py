"""Figures of sweeps draw every arm with its numbers, the best on top."""

import numpy as np
import pandas as pd
import pytest
from drawn import legend, rows, xs, ys
from matplotlib.collections import PathCollection

from rnnlab import plots
from rnnlab.errors import UserError
from rnnlab.plots.arms import ABOVE


def run_frame(**columns) -> pd.DataFrame:
    defaults = {"task": "adding-30", "phase": "search", "score_name": "mse", "diverged": False}
    return pd.DataFrame({**defaults, **columns})


def forest_table(scores: dict[str, float], baseline: float, solved_at: float) -> pd.DataFrame:
    table = pd.DataFrame({"arm": list(scores), "score": list(scores.values())})
    return table.assign(low=table.score * 0.9, high=table.score * 1.1, baseline=baseline, solved_at=solved_at)


@pytest.mark.parametrize(
    ("baseline", "solved_at", "order"),
    [(0.1, 0.99, ["best", "mid", "worst", "lost"]), (0.9, 0.15, ["worst", "mid", "best", "lost"])],
)
def test_forest_puts_the_best_arm_on_top_and_arms_without_score_last(baseline, solved_at, order):
    scores = {"mid": 0.5, "lost": np.nan, "best": 0.995, "worst": 0.12}
    ax = plots.ablation_forest(forest_table(scores, baseline, solved_at), "some score")
    assert rows(ax) == order
    points = {ys(line)[0]: xs(line)[0] for line in ax.lines if line.get_linestyle() == "None"}
    np.testing.assert_equal([points[height] for height in (3, 2, 1, 0)], [scores[arm] for arm in order])
    intervals = [xs(line) for line in ax.lines if len(set(ys(line))) == 1 and len(xs(line)) == 2]
    np.testing.assert_allclose(intervals[-1], [scores[order[0]] * 0.9, scores[order[0]] * 1.1])
    verticals = {line.get_label(): xs(line)[0] for line in ax.lines if xs(line)[0] == xs(line)[-1]}
    assert verticals["trivial baseline"] == baseline and verticals["solved criterion"] == solved_at
    assert [text.get_text() for text in ax.texts] == ["no score"]
    markers = {ys(line)[0]: line.get_marker() for line in ax.lines if line.get_linestyle() == "None"}
    assert [markers[height] for height in (3, 2, 1, 0)] == ["o", "s", "s", "s"]
    assert "some score" in ax.get_xlabel()


def test_scores_that_span_decades_get_a_log_axis():
    wide = plots.ablation_forest(forest_table({"a": 1e-4, "b": 0.1}, 1 / 6, 0.01))
    narrow = plots.ablation_forest(forest_table({"a": 0.6, "b": 0.9}, 0.5, 0.99))
    zero = plots.ablation_forest(forest_table({"a": 0.0, "b": 0.9}, 0.001, 0.99))
    assert [ax.get_xscale() for ax in (wide, narrow, zero)] == ["log", "linear", "linear"]


def test_lr_sensitivity_draws_search_trials_in_order_and_marks_diverged_ones():
    runs = run_frame(
        arm=["b", "a", "a", "a", "a", "b"],
        phase=["search"] * 5 + ["final"],
        score=[0.3, 0.2, 0.1, 0.8, np.nan, 0.9],
        diverged=[False, False, False, True, False, False],
        **{"param.optimizer.lr": [0.01, 0.02, 0.001, 0.5, 0.004, 0.7]},
    )
    ax = plots.lr_sensitivity(runs)
    drawn = {line.get_label(): (xs(line), ys(line)) for line in ax.lines}
    assert drawn == {"a": ([0.001, 0.02], [0.1, 0.2]), "b": ([0.01], [0.3])}
    crosses = [marks for marks in ax.collections if isinstance(marks, PathCollection)]
    np.testing.assert_array_equal(crosses[0].get_offsets(), [(0.5, ABOVE)])
    assert ax.get_xscale() == "log" and ax.get_ylabel() == "mse"
    assert legend(ax) == ["a", "b", "diverged"]


def test_decay_by_arm_draws_final_runs_and_means_from_slow_to_fast():
    runs = run_frame(
        arm=["fast", "fast", "slow", "slow", "slow"],
        phase=["final"] * 4 + ["search"],
        decay_rate=[-0.3, -0.5, -0.01, -0.03, 9.0],
        decay_rate_init=[-0.4, -0.6, 0.0, -0.2, 9.0],
    )
    ax = plots.decay_by_arm(runs)
    assert rows(ax) == ["slow", "fast"]
    _, *drawn = ax.lines  # the first is the line at zero
    points, means, starts = drawn[::3], drawn[1::3], drawn[2::3]
    assert [sorted(xs(line)) for line in points] == [[-0.5, -0.3], [-0.03, -0.01]]
    assert [xs(line)[0] for line in means] == pytest.approx([-0.4, -0.02])
    assert [xs(line)[0] for line in starts] == pytest.approx([-0.5, -0.1])
    assert all(abs(height - y) < 0.5 for y, line in enumerate(points) for height in ys(line))


@pytest.mark.parametrize("draw", [plots.lr_sensitivity, plots.decay_by_arm])
def test_several_tasks_or_a_missing_phase_are_refused(draw):
    with pytest.raises(UserError, match=r"adding-30, copying-10.*choose one"):
        draw(run_frame(task=["adding-30", "copying-10"], arm="a"))
    with pytest.raises(UserError, match="hold none of phase"):
        draw(run_frame(arm=["a"], phase="other"))
