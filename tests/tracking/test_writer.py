"""Whatever happens to a run, MLflow holds each of its points once, and nothing that is not a number."""

import json
import math
import multiprocessing
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnlab.config import Config
from rnnlab.errors import UserError
from rnnlab.tracking.provenance import config_params
from rnnlab.tracking.store import connect, experiment_id
from rnnlab.tracking.writer import RunWriter, finish_parent, log_file, start_parent
from rnnlab.training.result import Curve


def points(uri: str, run_id: str, name: str) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in connect(uri).get_metric_history(run_id, name))


def artifacts(uri: str, run_id: str, folder: str | None = None) -> set[str]:
    return {file.path for file in connect(uri).list_artifacts(run_id, folder)}


def test_a_finished_run_holds_curves_summary_and_artifacts(uri, tmp_path, start_run, result):
    writer = start_run()
    writer.finish(result)
    run = connect(uri).get_run(writer.run_id)
    assert run.info.status == "FINISHED" and run.info.run_name == "lstm 0"
    assert run.data.tags["rnnlab.outcome"] == result.outcome
    for name, curve in result.history.items():
        np.testing.assert_equal(points(uri, writer.run_id, name), list(zip(*curve, strict=True)))
    final = {name: value for name, value in run.data.metrics.items() if "/" not in name}
    np.testing.assert_equal(final, result.summary())
    assert artifacts(uri, writer.run_id) == {"config.json", "profile.nc", "figures", "images"}
    assert artifacts(uri, writer.run_id, "figures") == {"figures/heatmap.png", "figures/lag.png"}
    written = Path(connect(uri).download_artifacts(writer.run_id, "config.json", str(tmp_path)))
    assert Config.parse(json.loads(written.read_text())) == result.config


def test_no_metric_is_logged_per_time_step(uri, start_run, result):
    writer = start_run()
    writer.finish(result)
    names = connect(uri).get_run(writer.run_id).data.metrics
    assert set(names) == {*result.history, *result.summary()}


@pytest.mark.parametrize("points_recorded", [None, 0])
def test_a_run_without_recorded_gradients_has_only_its_configuration(uri, start_run, result, points_recorded):
    profile = None if points_recorded is None else result.profile.isel(step=slice(0))
    writer = start_run()
    writer.finish(replace(result, profile=profile))
    assert artifacts(uri, writer.run_id) == {"config.json"}


def test_a_run_taken_up_again_stores_no_step_twice(uri, start_run):
    whole = {"val/loss": Curve([0, 5, 10, 15], [4.0, 3.0, math.nan, 1.0]), "train/loss": Curve([5], [2.0])}
    first = start_run()
    first.log_curves({"val/loss": Curve([0, 5, 10], [4.0, 3.0, math.nan])})
    second = start_run(run_id=first.run_id)
    second.log_curves(whole)
    second.log_curves(whole)
    assert second.run_id == first.run_id
    np.testing.assert_equal(points(uri, first.run_id, "val/loss"), list(zip(*whole["val/loss"], strict=True)))
    assert points(uri, first.run_id, "train/loss") == [(5, 2.0)]


def test_a_run_killed_before_its_parameters_were_stored_gets_them_when_taken_up_again(uri, result):
    params = config_params(result.config)
    killed = RunWriter.start(uri, "demo", "a", {}, {})
    for _ in range(2):
        RunWriter.start(uri, "demo", "a", {}, params, run_id=killed.run_id)
    assert connect(uri).get_run(killed.run_id).data.params == params


def test_finishing_a_run_twice_changes_nothing(uri, start_run, result):
    writer = start_run()
    writer.finish(result)
    before = rows(uri)
    start_run(run_id=writer.run_id).finish(result)
    assert rows(uri) == before


def rows(uri: str) -> list[tuple]:
    """The table of metrics as it is on disk."""
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        return database.execute("SELECT key, step, value, is_nan FROM metrics ORDER BY key, step").fetchall()


def test_infinities_are_stored_as_nan(uri, start_run):
    start_run().log_curves({"val/loss": Curve([1, 2, 3], [math.inf, -math.inf, 1.0])})
    assert rows(uri) == [("val/loss", 1, 0.0, 1), ("val/loss", 2, 0.0, 1), ("val/loss", 3, 1.0, 0)]


def test_a_curve_longer_than_a_request_of_mlflow_is_stored_whole(uri, start_run):
    writer = start_run()
    writer.log_curves({"val/loss": Curve(list(range(2345)), [0.5] * 2345)})
    assert len(points(uri, writer.run_id, "val/loss")) == 2345


def test_failed_and_pruned_runs_show_as_such(uri, start_run):
    failed, pruned = start_run(trial=0), start_run(trial=1)
    failed.fail("out of memory")
    pruned.fail("after 300 steps", status="KILLED")
    for writer, status, outcome in ((failed, "FAILED", "failed"), (pruned, "KILLED", "pruned")):
        run = connect(uri).get_run(writer.run_id)
        assert (run.info.status, run.data.tags["rnnlab.outcome"]) == (status, outcome)
    again = start_run(run_id=failed.run_id)
    run = connect(uri).get_run(again.run_id)
    assert run.info.status == "RUNNING" and run.data.tags["rnnlab.outcome"] == "running"
    assert "rnnlab.reason" not in run.data.tags


def test_a_long_reason_keeps_its_end(uri, start_run):
    writer = start_run()
    writer.fail("line of a traceback\n" * 10_000 + "ValueError: the point")
    assert connect(uri).get_run(writer.run_id).data.tags["rnnlab.reason"].endswith("the point")


def test_a_run_that_is_gone_is_refused(start_run):
    with pytest.raises(UserError, match="0123456789abcdef"):
        start_run(run_id="0123456789abcdef0123456789abcdef")


def test_a_parent_is_found_again_by_its_tags(uri, tmp_path):
    tags = {"rnnlab.kind": "study", "rnnlab.sweep": "demo", "rnnlab.arm": "it's"}
    parent = start_parent(uri, "demo", "adding-9/it's", tags, "Which arm?")
    other = start_parent(uri, "demo", "adding-9/b", {**tags, "rnnlab.arm": "b"}, "Which arm?")
    (tmp_path / "sweep.yaml").write_text("name: demo")
    log_file(uri, parent, tmp_path / "sweep.yaml")
    finish_parent(uri, parent, {"score": 0.25, "tuned/optimizer.lr": math.nan})
    assert connect(uri).get_run(parent).data.metrics == {"score": 0.25}
    assert connect(uri).get_run(parent).info.status == "FINISHED"
    assert start_parent(uri, "demo", "adding-9/it's", tags, "Which arm?") == parent != other
    run = connect(uri).get_run(parent)
    assert run.info.status == "RUNNING" and run.data.tags["mlflow.note.content"] == "Which arm?"
    assert artifacts(uri, parent) == {"sweep.yaml"}


def write_runs(uri: str, arm: str, count: int) -> None:
    """What one of several worker processes does."""
    for trial in range(count):
        writer = RunWriter.start(uri, "crowd", f"{arm} {trial}", {"arm": arm}, {"trial": str(trial)})
        writer.log_curves({f"curve {i}": Curve(list(range(50)), [float(trial)] * 50) for i in range(4)})
        writer.fail("enough", status="KILLED")


def test_two_processes_writing_at_once_lose_nothing(uri):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_runs, args=(uri, arm, 8)) for arm in "ab"]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    runs = connect(uri).search_runs([experiment_id(uri, "crowd")])
    written = sorted((run.data.tags["arm"], int(run.data.params["trial"])) for run in runs)
    assert written == [(arm, trial) for arm in "ab" for trial in range(8)]
    assert {run.info.status for run in runs} == {"KILLED"}
    assert len(rows(uri)) == 2 * 8 * 4 * 50
