"""A store is made once, found from everywhere, and refused in one sentence where it is none."""

import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnlab.common.errors import UserError
from rnnlab.tracking import store
from rnnlab.tracking.writer import start_parent


@pytest.mark.slow
def test_importing_the_package_is_instant_and_silences_mlflow_beforehand():
    """And who serves the dashboard waits for MLflow alone."""
    program = (
        "import os, sys, rnnlab.tracking; assert 'mlflow' not in sys.modules;"
        "import mlflow.telemetry.utils as t, mlflow.environment_variables as e;"
        "assert os.environ['DO_NOT_TRACK'] == 'true' and e.MLFLOW_DISABLE_TELEMETRY.get();"
        "assert not e.MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR.get();"
        "import rnnlab.tracking.ui; assert not {'torch', 'xarray', 'matplotlib'} & {*sys.modules}"
    )
    names = ("MLFLOW_", "DO_NOT_TRACK", "PYTEST", "CI")
    clean = {key: value for key, value in os.environ.items() if not key.startswith(names)}
    subprocess.run([sys.executable, "-c", program], env=clean, check=True)


def test_the_default_store_is_under_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.tracking_uri() == f"sqlite:///{tmp_path}/runs/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    assert store.tracking_uri() == f"sqlite:///{tmp_path}/other.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server:5000")
    assert store.tracking_uri() == "http://server:5000"


@pytest.mark.slow
def test_prepare_makes_one_quiet_file_and_then_leaves_it_alone(tmp_path, capfd, caplog):
    path = tmp_path / "a folder with # and %" / "mlflow.db"
    uri = f"sqlite:///{path}"
    store.prepare_store(uri)
    assert capfd.readouterr() == ("", "") and not caplog.records
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    run_id = start_parent(uri, "demo", "study", {"kind": "x"}, "")
    store.connect.cache_clear()
    store.prepare_store(uri)
    assert store.connect(uri).get_run(run_id)


def test_of_two_processes_that_prepare_at_once_the_first_wins(tmp_path, empty_store, monkeypatch):
    path = tmp_path / "mlflow.db"
    uri = f"sqlite:///{path}"
    link, client = os.link, store.MlflowClient
    seen = []

    def begun(own: str) -> store.MlflowClient:
        """Whose schema, which takes seconds, has been made before."""
        if not (file := Path(own.removeprefix("sqlite:///"))).exists():
            shutil.copy(empty_store, file)
        return client(own)

    def overtaken(source: Path, target: Path) -> None:
        shutil.copy(empty_store, path)
        seen.append(start_parent(uri, "demo", "of the faster process", {"kind": "x"}, ""))
        link(source, target)

    monkeypatch.setattr(store, "MlflowClient", begun)
    monkeypatch.setattr(store.os, "link", overtaken)
    store.prepare_store(uri)
    with sqlite3.connect(path) as database:  # what lies there now; MLflow may hold a file that has lost its name
        assert database.execute("SELECT run_uuid, name FROM runs").fetchall() == [(*seen, "of the faster process")]


def test_an_experiment_is_made_once_with_artifacts_beside_the_store(uri, tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    number = store.experiment_id(uri, "demo")
    assert store.experiment_id(uri, "demo") == number != store.experiment_id(uri, "other")
    note = tmp_path / "note.txt"
    note.write_text("hello")
    run_id = store.connect(uri).create_run(number).info.run_id
    store.connect(uri).log_artifact(run_id, str(note))
    assert list((tmp_path / "artifacts").rglob("note.txt"))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_deleted_experiment_is_named_with_its_cure(uri):
    number = store.experiment_id(uri, "demo")
    store.connect(uri).delete_experiment(number)
    with pytest.raises(UserError, match=f"'demo' was deleted .*mlflow experiments restore -x {number}"):
        store.experiment_id(uri, "demo")


@pytest.mark.parametrize("act", [store.prepare_store, store.connect])
def test_what_is_no_store_is_refused_at_once(act, tmp_path):
    (tmp_path / "text.db").write_text("This is a text, and rather a long one for a database of nothing.")
    (tmp_path / "empty.db").touch()
    bad = {
        "sqlite:///{}/text.db": "file is not a database",
        "sqlite:///{}/empty.db": "not a tracking store of MLflow",
        "sqlite:///{}": "cannot read the tracking store",
        "sqlite:///{}/text.db/below/x.db": "cannot create|there is no tracking store",
        "./mlruns": "name an SQLite file",
        "http://127.0.0.1:1": "no MLflow server answers at http://127.0.0.1:1",
    }
    start = time.monotonic()
    for uri, message in bad.items():
        with pytest.raises(UserError, match=message) as caught:
            act(uri.format(tmp_path))
        assert "\n" not in str(caught.value)
    assert time.monotonic() - start < 5  # MLflow alone would go on for minutes


def test_a_database_of_somebody_else_is_left_as_it_is(tmp_path):
    path = tmp_path / "photos.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE photos (name TEXT)")
    before = path.read_bytes()
    with pytest.raises(UserError, match="not a tracking store of MLflow"):
        store.prepare_store(f"sqlite:///{path}")
    assert path.read_bytes() == before


HALF_WRITTEN = """
import os, sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA cache_size = 1")  # so that pages reach the file before the commit
database.execute("BEGIN")
database.execute("CREATE TABLE half (content TEXT)")
database.executemany("INSERT INTO half VALUES (?)", [("x" * 1000,)] * 1000)
os._exit(1)
"""


def test_what_a_kill_left_half_written_is_undone(empty_store, tmp_path):
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    subprocess.run([sys.executable, "-c", HALF_WRITTEN, str(path)], check=False)
    assert Path(f"{path}-journal").stat().st_size  # a hot journal
    store.check(f"sqlite:///{path}")
    assert not Path(f"{path}-journal").exists()
    with sqlite3.connect(path) as database:
        assert not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall()


@pytest.mark.parametrize(
    "uri",
    [
        "HTTP://me:secret@127.0.0.1:1",
        "http://127.0.0.1:1/?token=secret",
        "http://me:secret@[::1",
        "postgresql+psycopg://me:secret@127.0.0.1/db",
    ],
)
def test_no_spelling_of_an_address_shows_what_is_secret_in_it(uri):
    with pytest.raises(UserError) as caught:
        store.connect(uri)
    assert "secret" not in str(caught.value)


def test_a_command_names_the_store_unless_it_finds_it_by_itself(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert store.option(store.tracking_uri()) == ""
    assert store.option("http://me:secret@127.0.0.1:5000") == "--tracking-uri http://127.0.0.1:5000"
    assert store.option("sqlite:////a b/c.db") == "--tracking-uri 'sqlite:////a b/c.db'"


@pytest.mark.parametrize("password", ["secret", "secret/secret", "secret@secret", "secret?secret#secret"])
def test_no_message_shows_a_password(password):
    with pytest.raises(UserError) as caught:
        store.connect(f"http://me:{password}@127.0.0.1:1/p")
    assert "secret" not in str(caught.value) and "http://127.0.0.1:1/p" in str(caught.value)
