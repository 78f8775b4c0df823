"""Runs read from the tables are those that MLflow lists, after anything that MLflow can do to them."""

import math
import shutil
import sqlite3
import time
from contextlib import closing
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
import pytest
from forked import FORKED

from rnnlab.tracking import reader, store
from rnnlab.tracking.reader import load_sweep
from rnnlab.tracking.sqlite_runs import StoredRun, curves, tagged_runs
from rnnlab.training.result import Curve

CURVES = {"grad/decay_rate": Curve([0, 5, 10], [-0.5, math.nan, -0.25]), "val/loss": Curve([5], [1.0])}


def listed(uri: str, key: str = "rnnlab.sweep", value: str = "demo") -> list[StoredRun]:
    """What MLflow's own list says."""
    return reader._search(store.connect(uri), {key: value})


def read(uri: str, key: str = "rnnlab.sweep", value: str = "demo") -> list[StoredRun]:
    path = store.sqlite_file(uri)
    assert path is not None
    return tagged_runs(path, key, value)


def assert_alike(uri: str) -> None:
    ours, theirs = read(uri), listed(uri)
    assert [run[:3] for run in ours] == [run[:3] for run in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert our.metrics == pytest.approx(their.metrics, nan_ok=True, rel=0, abs=0)


def test_whatever_happens_to_a_run_is_read_at_once(uri, start_run, result):
    client = store.connect(uri)
    runs = [start_run(trial=trial) for trial in range(4)]
    assert_alike(uri)
    runs[0].log_curves(CURVES)
    runs[1].finish(result)
    runs[2].fail("broken")
    assert_alike(uri)
    client.set_tag(runs[1].run_id, "rnnlab.outcome", "another")  # of a run that has ended long since
    client.log_metric(runs[1].run_id, "score", math.nan)
    assert_alike(uri)
    assert load_sweep("demo", uri)["outcome"].tolist()[1] == "another"
    client.delete_run(runs[2].run_id)
    assert_alike(uri)
    assert load_sweep("demo", uri)["trial"].tolist() == [0, 1, 3]
    client.restore_run(runs[2].run_id)
    assert_alike(uri)
    client.delete_experiment(client.get_run(runs[0].run_id).info.experiment_id)
    assert read(uri) == listed(uri) == []


def test_a_curve_is_the_one_that_mlflow_has(uri, start_run):
    runs = [start_run(trial=trial) for trial in range(3)]
    for one in runs[:2]:
        one.log_curves(CURVES)
    path = store.sqlite_file(uri)
    assert path is not None
    found = curves(path, [one.run_id for one in runs], "grad/decay_rate")
    for one in runs:
        points = store.connect(uri).get_metric_history(one.run_id, "grad/decay_rate")
        np.testing.assert_array_equal(sorted(found[one.run_id]), sorted((p.step, p.value) for p in points))


@pytest.mark.parametrize("change", ["ALTER TABLE tags RENAME COLUMN value TO content", "DROP TABLE latest_metrics"])
def test_of_other_tables_nothing_is_read(uri, start_run, change):
    start_run()
    path = store.sqlite_file(uri)
    assert path is not None
    shutil.copy(path, other := path.with_name("other.db"))
    with closing(sqlite3.connect(other)) as database, database:
        database.execute(change)
    with pytest.raises(sqlite3.Error):
        tagged_runs(other, "rnnlab.sweep", "demo")


def test_a_curve_whose_index_is_gone_is_asked_from_mlflow(uri, start_run):
    one = start_run()
    one.log_curves(CURVES)
    path = store.sqlite_file(uri)
    assert path is not None
    with closing(sqlite3.connect(path)) as database, database:
        database.execute("DROP INDEX index_metrics_run_uuid_key_step")
    with pytest.raises(sqlite3.Error):
        curves(path, [one.run_id], "val/loss")
    assert reader._curves(uri, [one.run_id], "val/loss") == {one.run_id: [(5, 1.0)]}


def look_while_written(path: Path, counts: "Queue[int]") -> None:
    """Tell how many runs there are whenever it is another number, until there are seven."""
    seen = None
    while seen != 7:
        if (found := len(tagged_runs(path, "rnnlab.sweep", "demo"))) != seen:
            counts.put(seen := found)
        time.sleep(0.005)


@pytest.mark.slow
def test_a_reader_beside_a_writer_sees_whole_transactions(uri, start_run):
    """Every look sees at least the runs of the look before; the study's own run is one of them."""
    path = store.sqlite_file(uri)
    assert path is not None
    start_run()
    counts = FORKED.Queue()
    looking = FORKED.Process(target=look_while_written, args=(path, counts), daemon=True)
    looking.start()
    seen = [counts.get(timeout=60)]
    for trial in range(1, 6):
        start_run(trial=trial)
    while seen[-1] != 7:
        seen.append(counts.get(timeout=60))
    looking.join()
    assert looking.exitcode == 0 and seen == sorted(seen) and seen[0] == 2
