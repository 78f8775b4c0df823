"""What was spent is what the runs say, search and final apart."""

import math

import pandas as pd
from rows import run

from rnnlab.report.tables import spending_cells
from rnnlab.statistics.spending import spending_table


def test_updates_and_time_are_summed_by_phase_and_runs_without_record_are_counted():
    rows = [run(phase="search", seed=k, steps=100.0, seconds=1.0) for k in range(3)]
    rows += [run(phase="search", seed=9, steps=math.nan, seconds=math.nan, outcome="pruned")]
    rows += [run(seed=k, steps=40.0, seconds=30.0) for k in range(2)] + [run(arm="gru", steps=7.0, seconds=0.5)]
    tanh, gru = spending_table(pd.DataFrame(rows)).to_dict("records")
    assert tanh == {
        "task": "adding-30", "arm": "tanh",
        "search_runs": 4, "search_updates": 300.0, "search_seconds": 3.0, "search_unmetered": 1,
        "final_runs": 2, "final_updates": 80.0, "final_seconds": 60.0, "final_unmetered": 0,
    }  # fmt: skip
    assert (gru["arm"], gru["search_runs"], gru["final_updates"]) == ("gru", 0, 7.0)


def test_the_table_for_readers_adds_up_the_tasks():
    columns = {f"{phase}_{what}": 2 for phase in ("search", "final") for what in ("runs", "updates", "seconds")}
    rows = [{"task": task, "arm": "b", **columns, "search_unmetered": 1, "final_unmetered": 0} for task in ("x", "y")]
    rows.append({**rows[0], "arm": "a"})
    _, first, second = spending_cells(pd.DataFrame(rows))
    assert first == ["b", "4 (2 without record)", "4", "4.00 s", "4", "4", "4.00 s"]
    assert second[:2] == ["a", "2 (1 without record)"]
