"""Saved views show what compares, under names that tell runs apart."""

import json
from typing import Any

from rnnlab.tracking.views import FIXED, TAG, Contents, saved_views

SEARCHED = ["optimizer.lr", "model.num_layers"]
ONE = Contents({"adding-50": "mse"}, SEARCHED)
LENGTHS = Contents({"adding-50": "mse", "adding-100": "mse"}, SEARCHED)
KINDS = Contents({"adding-50": "mse", "parity-50": "accuracy"}, SEARCHED)


def states(contents: Contents) -> dict[str, dict[str, Any]]:
    """What the dashboard is told of each view."""
    return {tag.removeprefix(TAG): json.loads(json.loads(view)["state"]) for tag, view in saved_views(contents).items()}


def charts(contents: Contents, kind: str) -> list[dict[str, Any]]:
    return [c for state in states(contents).values() for c in state["compareRunCharts"] if c["type"] == kind]


def test_every_column_has_its_place_and_what_a_run_is_stands_before_its_numbers():
    for contents, state in ((each, state) for each in (ONE, LENGTHS, KINDS) for state in states(each).values()):
        assert state["columnOrder"] == [*FIXED, *state["selectedColumns"]]
        assert set(state["columnWidths"]) & set(FIXED)
        are_metrics = [column.startswith("metrics.") for column in state["selectedColumns"]]
        assert are_metrics == sorted(are_metrics)
        shown = {"params.`task`", "params.`arm`"} & set(state["selectedColumns"])
        assert len(shown) == (1 if contents is ONE else 2)


def test_arms_are_the_runs_of_studies_which_hold_averages_however_many_runs_there_are():
    arms = states(LENGTHS)["arms"]
    assert arms["searchFilter"] == "tags.`rnnlab.kind` = 'study'" and "groupBy" not in arms
    assert [chart["metricKey"] for chart in charts(LENGTHS, "BAR")] == ["score", "decay_rate"]


def test_scores_share_an_axis_only_where_they_are_one_quantity():
    assert len(charts(ONE, "SCATTER")) == len(charts(LENGTHS, "SCATTER")) == 1
    assert [chart["selectedParams"] for chart in charts(ONE, "PARALLEL")] == [["arm", *SEARCHED]] * 2
    assert [chart["selectedParams"] for chart in charts(LENGTHS, "PARALLEL")] == [["task", "arm", *SEARCHED]] * 2
    assert not charts(KINDS, "SCATTER")
    assert {tuple(chart["selectedMetrics"]) for chart in charts(KINDS, "PARALLEL")} == {("decay_rate", "solved")}
    assert [chart["metricKey"] for chart in charts(KINDS, "BAR")] == ["solved", "decay_rate"]
    assert {"val/mse", "val/accuracy"} < {chart["metricKey"] for chart in charts(KINDS, "LINE")}


def test_curves_are_not_smoothed():
    assert {chart["lineSmoothness"] for chart in charts(KINDS, "LINE")} == {0}


def test_pictures_stand_side_by_side_and_show_the_step_that_every_run_has():
    (card,) = charts(ONE, "IMAGE")
    assert card["showRunParams"] is False and card["step"] == 0


def test_half_lives_are_not_averaged():
    shown = states(ONE)
    assert "metrics.`half_life`" in shown["runs"]["selectedColumns"]
    assert "metrics.`half_life`" not in shown["arms"]["selectedColumns"]
