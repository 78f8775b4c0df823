"""Whatever happens to a run, MLflow holds each of its points once, and nothing that is not a number."""

import contextlib
import json
import math
import shutil
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from rnnlab.config.config import Config
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.store import connect, experiment_id
from rnnlab.tracking.writer import Writer, log_file, start_parent
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
    assert artifacts(uri, writer.run_id) == {"config.json", "profile.nc", "images"}
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
    second = start_run()
    second.log_curves(whole)
    second.log_curves(whole)
    assert second.run_id == first.run_id
    np.testing.assert_equal(points(uri, first.run_id, "val/loss"), list(zip(*whole["val/loss"], strict=True)))
    assert points(uri, first.run_id, "train/loss") == [(5, 2.0)]


def test_a_run_whose_entry_is_gone_is_found_again_and_stores_no_step_twice(uri, start_run, result):
    first = start_run()
    first.log_curves({name: Curve(curve.steps[:2], curve.values[:2]) for name, curve in result.history.items()})
    shutil.rmtree(first.entry.folder)
    again = start_run()
    again.finish(result)
    assert again.run_id == first.run_id
    for name, curve in result.history.items():
        np.testing.assert_equal(points(uri, first.run_id, name), list(zip(*curve, strict=True)))


MOMENTS = (
    "create_run",
    "log_batch",
    "log_inputs",
    "get_metric_history",
    "log_artifacts",
    "log_image",
    "set_terminated",
)


@pytest.mark.slow
@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_delivery_cut_short_anywhere_is_made_up_for(uri, state, result, tmp_path, monkeypatch, moment, late):
    """The request arrives or does not, and the answer never does; another process tries again."""
    entry = Outbox(tmp_path / "outbox").entry("it")
    entry.open(state)
    entry.finish(result)
    calls = 0

    def cut(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if late:
            original(*args, **kwargs)
        raise ConnectionError("cut")

    attempts = 0
    while entry.has_ended:  # the first, the second ... of these calls is the one that is cut
        attempts += 1
        with monkeypatch.context() as broken:
            original = getattr(MlflowClient, moment)
            allowed = iter(range(attempts - 1))
            broken.setattr(
                MlflowClient,
                moment,
                lambda *a, **k: original(*a, **k) if next(allowed, None) is not None else cut(*a, **k),  # noqa: B023
            )
            with contextlib.suppress(ConnectionError):
                Writer(uri).deliver(entry)
    assert calls == attempts - 1 and (calls or moment == "get_metric_history")
    (run,) = connect(uri).search_runs([experiment_id(uri, "demo")])
    assert run.info.status == "FINISHED" and run.data.params.items() >= state.params.items()
    for name, curve in result.history.items():
        np.testing.assert_equal(points(uri, run.info.run_id, name), list(zip(*curve, strict=True)))
    assert artifacts(uri, run.info.run_id, "figures") == {"figures/heatmap.png", "figures/lag.png"}
    assert len(artifacts(uri, run.info.run_id, "images")) == 2 * result.profile.sizes["step"]  # whole, and small
    assert run.inputs is not None and len(run.inputs.dataset_inputs) == 1


def test_a_point_sent_again_by_somebody_who_does_not_know_is_stored_once(uri, state, result, tmp_path, monkeypatch):
    """As when a server answers a request long after it was given up: MLflow knows it by its time."""
    for _ in range(2):
        entry = Outbox(tmp_path / "outbox").entry("it")
        entry.open(state)
        monkeypatch.setattr(MlflowClient, "get_metric_history", lambda *_: [])
        entry.end(replace(state, curves=result.history, times=dict.fromkeys(range(21), 2000)), "FINISHED", "finished")
        Writer(uri).deliver(entry)
        entry.receipt.unlink()
    stored = rows(uri)
    assert len(stored) == len(set(stored)) == sum(len(curve.steps) for curve in result.history.values())


@pytest.mark.usefixtures("drawn_once")
def test_a_second_run_of_one_identity_is_removed(uri, state, result, tmp_path):
    entry = Outbox(tmp_path / "outbox").entry("it")
    entry.open(state)
    first = Writer(uri).deliver(entry)
    late = connect(uri).create_run(experiment_id(uri, "demo"), tags=state.identity)  # answered after all
    entry.finish(result)
    assert Writer(uri).deliver(entry) == first
    assert [run.info.run_id for run in connect(uri).search_runs([experiment_id(uri, "demo")])] == [first]
    assert connect(uri).get_run(late.info.run_id).info.lifecycle_stage == "deleted"


def test_delivering_a_run_twice_changes_nothing(uri, start_run, result):
    stored = start_run()
    stored.finish(result)
    before = rows(uri)
    stored.entry.receipt.unlink()  # killed before it could be written
    start_run().finish(result)
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


def test_failed_and_pruned_runs_show_as_such_and_how_far_they_came(uri, start_run):
    failed, pruned = start_run(trial=0), start_run(trial=1)
    failed.log_curves({"val/loss": Curve([100, 200], [4.0, 3.0])})
    failed.fail("out of memory")
    pruned.fail("after 300 steps", status="KILLED")
    for stored, status, outcome, steps in ((failed, "FAILED", "failed", 200), (pruned, "KILLED", "pruned", 0)):
        run = connect(uri).get_run(stored.run_id)
        assert (run.info.status, run.data.tags["rnnlab.outcome"]) == (status, outcome)
        assert run.data.metrics["steps"] == steps and 0 < run.data.metrics["seconds"] < 60


def test_a_long_reason_keeps_its_end(uri, start_run):
    writer = start_run()
    writer.fail("line of a traceback\n" * 10_000 + "ValueError: the point")
    assert connect(uri).get_run(writer.run_id).data.tags["rnnlab.reason"].endswith("the point")


def test_a_parent_is_found_again_by_its_tags(uri, tmp_path):
    tags = {"rnnlab.kind": "study", "rnnlab.sweep": "demo", "rnnlab.arm": "it's"}
    parent = start_parent(uri, "demo", "adding-9/it's", tags, "Which arm?")
    other = start_parent(uri, "demo", "adding-9/b", {**tags, "rnnlab.arm": "b"}, "Which arm?")
    (tmp_path / "sweep.yaml").write_text("name: demo")
    log_file(uri, parent, tmp_path / "sweep.yaml")
    entry = Outbox(tmp_path / "outbox").entry("study")
    ended = RunState("demo", "adding-9/it's", {}, {}, {}, run_id=parent, curves={"score": Curve([0], [0.25])})
    entry.end(ended, "FINISHED", "finished")
    assert Writer(uri).deliver(entry) == parent
    assert connect(uri).get_run(parent).data.metrics == {"score": 0.25}
    assert connect(uri).get_run(parent).info.status == "FINISHED"
    assert start_parent(uri, "demo", "adding-9/it's", tags, "Which arm?") == parent != other
    run = connect(uri).get_run(parent)
    assert run.info.status == "RUNNING" and run.data.tags["mlflow.note.content"] == "Which arm?"
    assert artifacts(uri, parent) == {"sweep.yaml"}


@pytest.mark.usefixtures("drawn_once")
@pytest.mark.parametrize(
    ("phase", "trial", "drawn"),
    [
        (None, "0", {"figures", "images"}),
        ("final", "0", {"images"}),
        ("final", "1", set[str]()),
        ("search", "0", set[str]()),
    ],
)
def test_a_run_alone_has_figures_and_of_a_sweep_the_first_fresh_seed_the_slider(
    uri, state, result, tmp_path, phase, trial, drawn
):
    entry = Outbox(tmp_path / "outbox").entry("it")
    place = {} if phase is None else {"rnnlab.phase": phase, "rnnlab.trial": trial}
    entry.open(replace(state, identity={**state.identity, **place}))
    entry.finish(result)
    run_id = Writer(uri).deliver(entry)
    assert run_id is not None and artifacts(uri, run_id) == {"config.json", "profile.nc", *drawn}
