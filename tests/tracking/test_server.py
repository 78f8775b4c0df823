"""A tracking server over http gives what a local store gives, and its dashboard shows it in a real browser."""

import json
import os
import re
import shutil
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from forked import Forked, command_line

from experiments.browser import Browser, find_browser
from experiments.dashboard import await_server, free_port, tour
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.plots import style
from rnnlab.report import drawing
from rnnlab.report.report import write_report
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.reader import load_probes, load_profile, load_sweep
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.store import connect, experiment_id
from rnnlab.tracking.writer import Writer
from rnnlab.training.runs import run

pytestmark = pytest.mark.slow

OWN = ["run_id", "parent_id", "seconds"]
"""Columns in which the same sweep differs between two stores."""


def command(folder: Path, port: int) -> int:
    """`rnnlab ui` as it works in a folder, where the server keeps the artifacts that it is sent."""
    os.chdir(folder)
    return command_line("ui", "--port", str(port))


@pytest.fixture(scope="module")
def ui(tmp_path_factory, empty_store) -> Iterator[tuple[Forked, str]]:
    """The process of `rnnlab ui` with an empty store, and its address."""
    folder = tmp_path_factory.mktemp("server")
    shutil.copy(empty_store, folder / "mlflow.db")
    port = free_port()
    process = Forked(command, folder, port, MLFLOW_TRACKING_URI=f"sqlite:///{folder / 'mlflow.db'}")
    try:
        await_server(address := f"http://127.0.0.1:{port}", process.poll)
        yield process, address
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Where the sweep is trained, and its report written."""
    return tmp_path_factory.mktemp("small")


@pytest.fixture(scope="module")
def server(ui, folder, store_small_sweep) -> str:
    """A real server with the first task of the sweep `small`, all of it written and reported over http."""
    store_small_sweep(ui[1], folder, tasks=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, "DPI", 50)  # coarse figures are drawn in half of the time
        write_report("small", folder / "report", ui[1])
    return ui[1]


def test_a_sweep_and_its_profiles_are_the_same_from_a_server(server, small_sweep):
    local = load_sweep("small", small_sweep).query("task == 'adding-8'").dropna(axis="columns", how="all")
    remote = load_sweep("small", server).dropna(axis="columns", how="all")
    order = ["arm", "phase", "trial"]
    here, there = (runs.sort_values(order, ignore_index=True) for runs in (local, remote))
    pd.testing.assert_frame_equal(there.drop(columns=OWN), here.drop(columns=OWN), check_dtype=False)
    profiles = [
        load_profile(runs.query("arm == 'lstm' and phase == 'final'")["run_id"].iloc[0], uri)
        for runs, uri in ((there, server), (here, small_sweep))
    ]
    xr.testing.assert_identical(*profiles)


@pytest.mark.usefixtures("drawn_once")
def test_probes_come_back_from_a_server(server, result, tmp_path):
    changes = {"recording.probes": "standard", "recording.probe_points": 2, "training.steps": 2}
    config = Config.parse(override(result.config.model_dump(), changes))
    result = run(config)
    entry = Outbox(tmp_path / "outbox").entry("probed")
    entry.open(RunState("single", "probed", {"rnnlab.run": "1"}, config_tags(config), config_params(config)))
    entry.finish(result)
    run_id = Writer(server).deliver(entry)
    assert run_id is not None and result.probes is not None
    assert load_probes(run_id, server).sizes == result.probes.sizes


def test_the_report_lies_where_the_descriptions_say(server):
    client, experiment = connect(server), experiment_id(server, "small")
    (page,) = client.search_runs([experiment], "tags.`rnnlab.kind` = 'report'")
    assert page.info.status == "FINISHED"
    names = {file.path for file in client.list_artifacts(page.info.run_id)}
    assert {"report.html", "report.md", "ablation.csv", "figures", "tables", "sweep.yaml", "environment.json"} <= names
    link = f"#/experiments/{experiment}/runs/{page.info.run_id}/artifacts/report.html"
    parents = client.search_runs([experiment], "tags.`rnnlab.kind` = 'study'")
    notes = [parent.data.tags["mlflow.note.content"] for parent in parents]
    notes.append(client.get_experiment(experiment).tags["mlflow.note.content"])
    assert len(notes) == 3 and all(link in note and "| lstm&emsp; |" in note for note in notes)
    order = [
        "Does <b>anything</b> help?",
        "| tanh&emsp; |",
        "![Score by arm](",
        "![Gradient norm over time and training](",
        link,
    ]
    assert all(sorted(order, key=note.index) == order and order[0] in note.splitlines()[0] for note in notes)
    for address in {address for note in notes for address in re.findall(r"!\[[^]]*\]\(([^)]+)\)", note)}:
        with urllib.request.urlopen(f"{server}/{address}") as picture:
            assert picture.read().startswith(b"\x89PNG")
    for parent in parents:
        assert parent.data.params == {"task": "adding-8", "arm": parent.data.tags["rnnlab.arm"]}
        assert {"solved", "diverged", "decay_rate"} <= set(parent.data.metrics)


def test_a_report_written_again_adds_no_run_and_no_number(server, folder, tmp_path, monkeypatch):
    """Its figures are those of the first, which take most of the time of a report."""
    monkeypatch.setattr(drawing, "save", lambda _, path: shutil.copy(folder / "report" / "figures" / path.name, path))
    experiment = experiment_id(server, "small")

    def stored() -> list[tuple[str, int]]:
        client = connect(server)
        runs = client.search_runs([experiment], max_results=1000)
        return sorted(
            (r.info.run_id, sum(len(client.get_metric_history(r.info.run_id, m)) for m in r.data.metrics)) for r in runs
        )

    before = stored()
    write_report("small", tmp_path, server)
    assert stored() == before


def test_every_run_names_its_data_and_its_environment(server):
    client, experiment = connect(server), experiment_id(server, "small")
    for found in client.search_runs([experiment], "tags.`rnnlab.phase` = 'final'"):
        assert found.inputs is not None
        (data,) = found.inputs.dataset_inputs
        assert (data.dataset.name, data.dataset.source_type) == ("adding-8", "generated")
        assert Config.parse(json.loads(found.data.tags["rnnlab.config"])).hash == found.data.tags["rnnlab.config_hash"]
        assert found.data.tags["rnnlab.cpu"] and "optimizer.lr" in found.data.params


@pytest.mark.long
@pytest.mark.skipif(find_browser() is None, reason="needs Chromium and its driver: apt install chromium-driver")
def test_a_reader_finds_the_way_from_the_experiment_to_the_gradient_of_a_run(server):
    paths = find_browser()
    assert paths is not None
    seen: list[str] = []
    with Browser(paths, scale=0.5) as browser:
        tour(browser, server, "small", "lstm", seen.append)
    assert seen == [
        "arms",
        "runs",
        "charts",
        "parallel",
        "pictures",
        "run",
        "slider",
        "parent",
        "report",
        "compare",
    ]


def test_the_dashboard_ends_with_all_it_started_when_told_to(ui):
    """The last of these tests: there is no server after it."""
    process, address = ui
    process.send_signal(signal.SIGTERM)  # to it alone
    assert process.wait(30) == 0
    assert socket.socket().connect_ex(("127.0.0.1", int(address.rpartition(":")[2])))
