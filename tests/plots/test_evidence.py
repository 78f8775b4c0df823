"""Figures of evidence show the numbers they are given, arm by arm."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from drawn import LONG, legend, pixels
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from rows import run

from rnnlab.common.errors import UserError
from rnnlab.plots.arms import decay_by_arm
from rnnlab.plots.evidence import health_scatter, solve_curves, win_matrix

BUDGET: dict[str, Any] = {"param.training.steps": 30}


def xy(line: Line2D) -> list[list[float]]:
    return np.asarray(line.get_xydata(), float).tolist()


def drawn_in_legend(ax: Axes) -> list[Line2D]:
    shown = ax.get_legend()
    assert shown is not None
    return [line for line in shown.legend_handles if isinstance(line, Line2D)]


def solving(arm: str, *steps: float) -> list[dict]:
    """Fresh runs of 30 updates that solve the task at these steps, NaN never."""
    return [
        run(arm=arm, seed=seed, steps_to_solve=step, outcome="finished" if math.isnan(step) else "solved", **BUDGET)
        for seed, step in enumerate(steps)
    ]


def scores(**arms: list[float]) -> pd.DataFrame:
    named = {LONG if arm == "long" else arm: values for arm, values in arms.items()}
    return pd.DataFrame(
        [run(arm=arm, seed=seed, score=score) for arm, values in named.items() for seed, score in enumerate(values)]
    )


def runs() -> pd.DataFrame:
    columns = {"arm": ["a", "a", LONG], "phase": ["search", "final", "final"], "score": [0.2, 0.001, 0.1]}
    return pd.DataFrame(columns).assign(task="adding-30", score_name="mse", decay_rate_init=[-0.3, 0.1, -0.2])


def test_a_staircase_holds_each_share_until_the_next_and_the_last_to_the_end():
    nan = math.nan
    ax = solve_curves(pd.DataFrame(solving("c", 5, nan, nan, nan) + solving("a", nan) + solving("b", 20, 10)))
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert xy(lines["b"]) == [[0, 0], [10, 0.5], [20, 1], [30, 1]] and xy(lines["c"]) == [[0, 0], [5, 0.25], [30, 0.25]]
    assert {line.get_drawstyle() for line in lines.values()} == {"steps-post"}
    assert legend(ax) == ["b", "c", "never: a"]


def test_intervals_are_shaded_only_where_they_do_not_hide_one_another():
    few, many = (pd.DataFrame([row for arm in "abcdefg"[:n] for row in solving(arm, 5)]) for n in (4, 5))
    assert len(solve_curves(few).collections) == 4
    assert len(solve_curves(many).collections) == 0


def test_the_matrix_shows_every_chance_from_both_sides_and_stars_what_is_clear():
    ax = win_matrix(scores(a=[0.1] * 9, long=[0.2] * 9, c=[0.05, 0.15] * 4 + [0.05]))
    assert [text.get_text() for text in ax.get_yticklabels()] == ["c", "a", LONG]  # by their mean
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    c, a, long = range(3)
    assert shown == {  # by column and row
        (a, c): "0.56", (c, a): "0.44", (long, c): "1.00*", (c, long): "0.00*", (long, a): "1.00*", (a, long): "0.00*"
    }  # fmt: skip
    np.testing.assert_allclose(pixels(ax.images[0]), [[np.nan, 5 / 9, 1], [4 / 9, np.nan, 1], [0, 0, np.nan]])


def test_one_arm_alone_beats_nobody():
    with pytest.raises(UserError, match="fewer than two arms with a final result"):
        win_matrix(scores(a=[0.1, 0.2]))


def test_every_run_is_a_point_hollow_in_the_search_and_filled_after_it():
    ax = health_scatter(runs())
    points = {tuple(xy(line)[0]): line for line in ax.get_lines() if line.get_marker() != "None" and len(xy(line)) == 1}
    assert set(points) == {(-0.3, 0.2), (0.1, 0.001), (-0.2, 0.1)}
    hollow = {point: to_rgba(line.get_markerfacecolor())[3] == 0 for point, line in points.items()}
    assert hollow == {(-0.3, 0.2): True, (0.1, 0.001): False, (-0.2, 0.1): False}
    assert points[-0.3, 0.2].get_color() == points[0.1, 0.001].get_color() != points[-0.2, 0.1].get_color()
    assert ax.get_yscale() == "log" and legend(ax) == ["a", LONG, "hollow: search", "filled: fresh seeds"]
    hollow, filled = (to_rgba(line.get_markerfacecolor())[3] for line in drawn_in_legend(ax)[2:])
    assert (hollow, filled) == (0, 1)


def test_scores_of_several_tasks_are_not_drawn_on_one_axis():
    several = pd.concat([runs(), runs().assign(task="copying-20")])
    with pytest.raises(UserError, match="adding-30, copying-20, whose values do not compare: choose one"):
        health_scatter(several)


@pytest.mark.parametrize(("draw", "without"), [(health_scatter, 3), (decay_by_arm, 1)])
def test_runs_without_a_number_are_counted_where_they_are_not_drawn(draw, without: int):
    frame = pd.DataFrame(
        [
            run(seed=0),
            run(seed=1, score=math.nan, outcome="diverged"),
            run(seed=2, decay_rate=math.nan, decay_rate_init=math.nan),
            run(seed=3, phase="search", score=math.nan, outcome="pruned"),
        ]
    )
    of = len(frame) if draw is health_scatter else 3
    assert legend(draw(frame))[-1] == f"not drawn: {without} of {of} runs, without a number"
    assert not any("not drawn" in label for label in legend(draw(frame[:1])))
