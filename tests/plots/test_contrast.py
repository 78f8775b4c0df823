"""Two sweeps: the figure draws the table, and bends its axis only where it has to."""

import numpy as np
import pandas as pd
import pytest
from drawn import rows, xs, ys
from rows import ADDING, run

from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.plots.contrast import CLEAR, OPEN
from rnnlab.statistics.two_sweeps import contrast_table


def sweep(gain: float, worst: float = 0.3) -> pd.DataFrame:
    scores = {"gru": 0.2 - gain, "tanh": 0.2, "lstm": worst}
    noise = np.random.default_rng(len(scores)).normal(size=(3, 8)) * 1e-3
    return pd.DataFrame(
        [
            run(arm=arm, seed=k, score=score + noise[i, k] * (1 + gain))
            for i, (arm, score) in enumerate(scores.items())
            for k in range(8)
        ]
    )


def test_every_arm_has_its_difference_and_what_is_clear_is_filled():
    table = contrast_table(sweep(0), sweep(0.1)).sort_values("difference", kind="stable")
    ax = plots.difference_forest(sweep(0), sweep(0.1))
    assert rows(ax) == table["arm"].tolist()[::-1] and rows(ax)[0] == "gru"
    points = {ys(line)[0]: line for line in ax.lines if line.get_marker() == "o"}
    np.testing.assert_array_equal([xs(points[k])[0] for k in range(3)], table["difference"])
    spans = [xs(line) for line in ax.lines if len(set(ys(line))) == 1 and len(xs(line)) == 2]
    np.testing.assert_array_equal(spans, table[["difference_low", "difference_high"]])
    for k, p in enumerate(table["p_task"]):
        clear = p < 0.05
        assert points[k].get_color() == (CLEAR if clear else OPEN)
        assert points[k].get_markerfacecolor() == (CLEAR if clear else "white")
    assert ax.get_xscale() == "linear" and ADDING.score_name in ax.get_xlabel()


def test_an_arm_that_is_far_off_leaves_the_others_room():
    assert plots.difference_forest(sweep(0), sweep(0.1, worst=1e6)).get_xscale() == "symlog"


def test_sweeps_without_a_common_arm_are_refused():
    with pytest.raises(UserError, match="no arm on one task in common"):
        plots.difference_forest(sweep(0), sweep(0).assign(arm="other"))
