"""Figures of evidence show the numbers they are given, arm by arm."""

import numpy as np
import pandas as pd
import pytest
from drawn import LONG, legend
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D

from rnnlab.errors import UserError
from rnnlab.plots.evidence import health_scatter, solve_curves, win_matrix


def xy(line: Line2D) -> list[list[float]]:
    return np.asarray(line.get_xydata(), float).tolist()


def drawn_in_legend(ax: Axes) -> list[Line2D]:
    shown = ax.get_legend()
    assert shown is not None
    return [line for line in shown.legend_handles if isinstance(line, Line2D)]


def staircase(arm: str, *points: tuple[float, float]) -> pd.DataFrame:
    steps, solved = zip((0.0, 0.0), *points, strict=True)
    return pd.DataFrame({"arm": arm, "step": steps, "solved": solved}).assign(low=0.0, high=1.0)


def contests() -> pd.DataFrame:
    rows = [("a", LONG, 0.9, 0.01), ("c", "a", 0.25, 0.2), (LONG, "c", 0.5, 1.0)]
    return pd.DataFrame(rows, columns=["arm", "other", "probability", "p_all"])


def runs() -> pd.DataFrame:
    columns = {"arm": ["a", "a", LONG], "phase": ["search", "final", "final"], "score": [0.2, 0.001, 0.1]}
    return pd.DataFrame(columns).assign(task="adding-30", score_name="mse", decay_rate_init=[-0.3, 0.1, -0.2])


def test_a_staircase_holds_each_share_until_the_next_and_the_last_to_the_end():
    mixed = pd.concat([staircase("b", (10, 0.5), (20, 1.0)).iloc[::-1], staircase("a"), staircase("c", (5, 0.25))])
    ax = solve_curves(mixed, 30)
    lines = {line.get_label(): line for line in ax.get_lines()}
    assert xy(lines["b"]) == [[0, 0], [10, 0.5], [20, 1], [30, 1]] and xy(lines["c"]) == [[0, 0], [5, 0.25], [30, 0.25]]
    assert {line.get_drawstyle() for line in lines.values()} == {"steps-post"}
    assert sorted(legend(ax)) == ["b", "c", "never: a"]


def test_intervals_are_shaded_only_where_they_do_not_hide_one_another():
    few, many = ([staircase(arm, (5, 0.5)) for arm in "abcdefg"[:n]] for n in (4, 5))
    assert len(solve_curves(pd.concat(few), 9).collections) == 4
    assert len(solve_curves(pd.concat(many), 9).collections) == 0


def test_the_matrix_shows_every_chance_from_both_sides_and_stars_what_is_clear():
    ax = win_matrix(contests(), ["a", LONG, "c"], 0.05)
    shown = {text.get_position(): text.get_text() for text in ax.texts}
    a, long, c = range(3)
    assert shown == {  # by column and row
        (long, a): "0.90*", (a, long): "0.10*", (a, c): "0.25", (c, a): "0.75", (c, long): "0.50", (long, c): "0.50"
    }  # fmt: skip
    pixels = np.ma.filled(np.ma.asarray(ax.images[0].get_array()), np.nan)
    np.testing.assert_allclose(pixels, [[np.nan, 0.9, 0.75], [0.1, np.nan, 0.5], [0.25, 0.5, np.nan]])


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
