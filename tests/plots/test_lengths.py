"""Success against length: the counted shares and Wilson's bounds, arm by arm, on a logarithmic axis."""

import numpy as np
import pandas as pd
import pytest
from drawn import legend, lines, xs, ys
from matplotlib.collections import LineCollection

from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.statistics.intervals import wilson
from rnnlab.statistics.success_by_length import success_table


def run(arm: str, length: int, seed: int, outcome: str, phase: str = "final", kind: str = "adding") -> dict:
    return {
        "run_id": f"{arm}{length}{seed}", "task": f"{kind}-{length}", "length": length, "arm": arm, "phase": phase,
        "seed": seed, "outcome": outcome, "score": 0.1, "solved": outcome == "solved", "param.task.kind": kind,
    }  # fmt: skip


RUNS = pd.DataFrame(
    [
        *[run("a", 10, k, "solved") for k in range(3)],
        *[run("a", 100, k, outcome) for k, outcome in enumerate(["solved", "finished", "failed", "running"])],
        *[run("b", length, 0, "diverged") for length in (10, 100)],
        run("b", 10, 1, "solved", phase="search"),
    ]
)


def test_fresh_runs_that_ended_are_counted_and_failed_ones_do_not_solve():
    table = success_table(RUNS).set_index(["arm", "length"])
    expected = {("a", 10): (3, 3), ("a", 100): (1, 3), ("b", 10): (0, 1), ("b", 100): (0, 1)}
    assert {key: (round(row.solved * row.runs), row.runs) for key, row in table.iterrows()} == expected
    assert tuple(table.loc[("a", 100), ["solved", "low", "high"]]) == wilson(1, 3)


def test_shares_and_bounds_are_drawn_over_the_logarithm_of_the_length():
    table = success_table(RUNS)
    ax = plots.success_by_length(RUNS)
    assert ax.get_xscale() == "log" and legend(ax) == ["a", "b"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "100"]
    bars = [collection for collection in ax.collections if isinstance(collection, LineCollection)]
    for (arm, rows), bar in zip(table.groupby("arm"), bars, strict=True):
        line = lines(ax)[str(arm)]
        assert ys(line) == rows["solved"].tolist()
        np.testing.assert_allclose(xs(line), rows["length"], rtol=0.02)
        np.testing.assert_allclose([s[:, 1] for s in bar.get_segments()], rows[["low", "high"]])
    assert xs(lines(ax)["a"]) != xs(lines(ax)["b"])  # equal shares stay visible


def test_lengths_of_different_tasks_are_refused():
    both = pd.DataFrame([run("a", 10, 0, "solved"), run("a", 10, 0, "solved", kind="copying")])
    with pytest.raises(UserError, match=r"kinds adding, copying, whose lengths do not compare"):
        plots.success_by_length(both)
