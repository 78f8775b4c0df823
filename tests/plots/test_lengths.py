"""Success against length: the counted shares and Wilson's bounds, arm by arm, on a logarithmic axis."""

import numpy as np
import pandas as pd
import pytest
from drawn import legend, lines, xs, ys
from matplotlib.collections import LineCollection

from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.statistics.arms_by_task import arms_by_task


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


def test_shares_and_bounds_are_drawn_over_the_logarithm_of_the_length():
    table = arms_by_task(RUNS)
    ax = plots.success_by_length(RUNS)
    assert ax.get_xscale() == "log" and legend(ax) == ["a", "b"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["10", "100"]
    bars = [collection for collection in ax.collections if isinstance(collection, LineCollection)]
    for (arm, rows), bar in zip(table.groupby("arm"), bars, strict=True):
        line = lines(ax)[str(arm)]
        assert ys(line) == rows["value"].tolist()
        np.testing.assert_allclose(xs(line), rows["length"], rtol=0.02)
        np.testing.assert_allclose([s[:, 1] for s in bar.get_segments()], rows[["low", "high"]])
    assert xs(lines(ax)["a"]) != xs(lines(ax)["b"])  # equal shares stay visible


def test_lengths_of_different_tasks_are_refused():
    both = pd.DataFrame([run("a", 10, 0, "solved"), run("a", 10, 0, "solved", kind="copying")])
    with pytest.raises(UserError, match=r"kinds adding, copying, whose lengths do not compare"):
        plots.success_by_length(both)
