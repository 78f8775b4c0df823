"""What was written comes back: profiles to the last bit of float32, sweeps as one row a run."""

import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.tracking import reader
from rnnlab.tracking.reader import COLUMNS, load_probes, load_profile, load_sweep
from rnnlab.tracking.writer import start_parent
from rnnlab.training.runs import run

DOCUMENTED = [
    *("run_id", "parent_id", "status", "task", "length", "arm", "phase", "seed", "trial", "outcome", "score_name"),
    *("score", "loss", "solved", "diverged", "steps", "steps_to_solve", "seconds"),
    *("objective", "cost", "decay_rate"),
    *(
        "decay_rate_stderr",
        "decay_r2",
        "decay_bent",
        "decay_rate_init",
        "half_life",
        "clipped_fraction",
        "vanished",
        "exploded",
    ),
    *("config_hash", "git_commit", "command"),
]


def test_a_profile_comes_back_exactly_in_float32(uri, start_run, result):
    profile = result.profile.copy(deep=True)
    profile["log10_grad_norm"][0, 0, 0, 0, :3] = [math.nan, -math.inf, math.inf]
    writer = start_run()
    writer.finish(replace(result, profile=profile))
    read = load_profile(writer.run_id, uri)
    assert list(read.dims) == list(profile.dims) and read.attrs == profile.attrs
    for name, array in profile.data_vars.items():
        np.testing.assert_array_equal(read[name].values, array.values.astype(np.float32))
        assert read[name].dtype == np.float32 and read[name].dims == array.dims
    for name, array in profile.coords.items():
        xr.testing.assert_equal(read[name], array)
    assert read.sel(state="c", direction="forward").isel(layer=-1).sizes["time"] == 9


def test_probes_come_back_exactly_in_float32(uri, start_run, result):
    changes = {"recording.probes": "full", "recording.probe_points": 2, "training.steps": 2}
    probes = run(Config.parse(override(result.config.model_dump(), changes))).probes
    assert probes is not None
    probes["log10_spectral_norm"][0, 0, 0, :2] = [math.nan, -math.inf]
    writer = start_run()
    writer.finish(replace(result, probes=probes))
    read = load_probes(writer.run_id, uri)
    assert read.attrs == probes.attrs and set(read.data_vars) == set(probes.data_vars)
    for name, array in probes.data_vars.items():
        np.testing.assert_array_equal(read[name].values, array.values.astype(np.float32))
        assert read[name].dims == array.dims and read[name].attrs == array.attrs
    for name, array in probes.coords.items():
        xr.testing.assert_equal(read[name], array)
    assert load_profile(writer.run_id, uri).sizes == result.profile.sizes  # they lie side by side


def test_the_store_in_use_is_the_default(uri, start_run, result, monkeypatch):
    writer = start_run()
    writer.finish(result)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert rnnlab.load_profile(writer.run_id).sizes == result.profile.sizes
    assert list(rnnlab.load_sweep("demo")["run_id"]) == [writer.run_id]


def test_a_missing_profile_or_run_is_named(uri, start_run, result):
    writer = start_run()
    with pytest.raises(UserError, match=f"'{writer.run_id}' holds no profile.nc"):
        load_profile(writer.run_id, uri)
    writer.finish(result)
    with pytest.raises(UserError, match=r"holds no probes.nc: .* recording.probes = 'standard', 'full' or names"):
        load_probes(writer.run_id, uri)
    with pytest.raises(UserError, match="holds no run 'nonsense'"):
        load_profile("nonsense", uri)


def test_a_sweep_is_one_row_a_run_with_the_documented_columns(uri, start_run, result):
    finished, diverged, failed, pruned, running = (start_run(arm=f"arm {i}", trial=i) for i in range(5))
    finished.finish(replace(result, outcome="solved", steps_to_solve=15))
    diverged.finish(replace(result, outcome="diverged", test_loss=math.nan, test_score=math.nan, profile=None))
    failed.fail("broken")
    pruned.fail("too slow", status="KILLED")
    runs = load_sweep("demo", uri)
    assert list(runs.columns[: len(DOCUMENTED)]) == DOCUMENTED == COLUMNS
    assert list(runs["run_id"]) == [w.run_id for w in (finished, diverged, failed, pruned, running)]
    assert list(runs["outcome"]) == ["solved", "diverged", "failed", "pruned", "running"]
    assert list(runs["status"]) == ["FINISHED", "FINISHED", "FAILED", "KILLED", "RUNNING"]
    assert list(runs["solved"]) == [True] + [False] * 4 and list(runs["diverged"]) == [False, True] + [False] * 3
    assert list(runs["trial"]) == [0, 1, 2, 3, 4] and list(runs["seed"]) == [0] * 5
    assert {runs[name].dtype.kind for name in ("length", "seed", "trial")} == {"i"}
    assert {runs[name].dtype.kind for name in ("solved", "diverged")} == {"b"}
    assert runs["parent_id"].is_unique
    first, second = runs.to_dict("records")[:2]
    assert (first["task"], first["length"], first["command"]) == ("adding-9", 9, "rnnlab run demo.yaml")
    assert first["config_hash"] == result.config.hash
    assert math.isnan(second["decay_rate"]) and math.isnan(second["vanished"])
    numbers = ["score", "loss", "decay_rate", "clipped_fraction", "steps_to_solve"]
    assert np.isnan(runs[numbers].to_numpy(float)[2:]).all()
    for spent in ("steps", "seconds"):  # how far it came is known of every run that is over
        assert list(runs[spent].notna()) == [True] * 4 + [False]


def test_the_numbers_of_a_row_are_those_of_the_result(uri, start_run, result):
    start_run().finish(result)
    row, summary = load_sweep("demo", uri).iloc[0], result.summary()
    assert (row["score"], row["loss"]) == (result.test_score, result.test_loss)
    assert (row["steps"], row["seconds"]) == (result.steps, result.seconds)
    for column in (
        "decay_rate",
        "decay_rate_stderr",
        "decay_r2",
        "decay_bent",
        "decay_rate_init",
        "half_life",
        "vanished",
        "exploded",
    ):
        assert row[column] == summary[column]
    np.testing.assert_equal(row["clipped_fraction"], summary["clipped_fraction"])
    np.testing.assert_equal(row["steps_to_solve"], summary["steps_to_solve"])
    assert row["param.optimizer.lr"] == result.config.optimizer.lr
    assert row["param.cell.kind"] == "lstm" and not any(name.startswith("param.remedies") for name in row.index)


def test_a_sweep_of_many_pages_is_read_whole(uri, start_run, monkeypatch):
    monkeypatch.setattr(reader, "PAGE", 2)
    for trial in range(5):
        start_run(trial=trial)
    assert list(load_sweep("demo", uri)["trial"]) == [0, 1, 2, 3, 4]


def test_of_two_starts_of_an_arm_the_newest_counts(uri, start_run):
    start_run("lstm", 0)
    other = start_run("gru", 0)
    again = [start_run("lstm", trial, start="second") for trial in (0, 1)]
    assert set(load_sweep("demo", uri)["run_id"]) == {other.run_id, *(writer.run_id for writer in again)}


def test_a_sweep_without_runs_is_an_empty_table(uri):
    start_parent(uri, "demo", "study", {"rnnlab.kind": "study", "rnnlab.sweep": "demo"}, "")
    runs = load_sweep("demo", uri)
    assert runs.empty and list(runs.columns) == DOCUMENTED


def test_an_unknown_sweep_gives_the_nearest_name(uri):
    with pytest.raises(UserError, match="holds no sweep 'demo': start one with"):
        load_sweep("demo", uri)
    for name in ("demo", "remedies"):
        start_parent(uri, name, "study", {"rnnlab.kind": "study", "rnnlab.sweep": name}, "")
    with pytest.raises(UserError, match="did you mean 'demo'"):
        load_sweep("demmo", uri)
