"""What comes with the package is found by name, in a clone and from a wheel."""

import os
import shutil
import sqlite3
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from rnnlab.common.shipped import locate, shipped

ROOT = Path(__file__).parents[2]


def test_every_sweep_and_experiment_of_the_clone_comes_along():
    there = {path.stem: path for folder in ("sweeps", "experiments") for path in (ROOT / folder).rglob("*.yaml")}
    there.pop("sweep")  # of the gallery
    assert set(shipped()) == set(there)
    assert all(shipped()[name].read_bytes() == path.read_bytes() for name, path in there.items())


def test_a_file_of_the_users_own_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert locate("adding") == shipped()["adding"] and locate("adding.yaml") == Path("adding.yaml")
    Path("adding").write_text("mine")
    assert locate("adding") == Path("adding") and locate("of/adding") == Path("of/adding")


@pytest.mark.slow
def test_a_wheel_works_in_an_empty_folder(tmp_path):
    source, empty, installed = tmp_path / "source", tmp_path / "an empty folder", tmp_path / "installed"
    empty.mkdir()
    for name in ("rnnlab", "sweeps", "experiments"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"  # as pip does
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, stdout=subprocess.DEVNULL, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    told = subprocess.run(
        [sys.executable, "-c", "import rnnlab; print(rnnlab.__file__)"],
        cwd=empty, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert Path(told.stdout.strip()).is_relative_to(installed) and (installed / "rnnlab" / "py.typed").exists()
    short = ["training.steps=4", "training.eval_every=2", "training.test_examples=10", "recording.points=0", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "rnnlab", "run", "adding", *short],
        cwd=empty, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with sqlite3.connect(empty / "runs" / "mlflow.db") as database:
        made = database.execute("SELECT value FROM tags WHERE key = 'rnnlab.git_commit'").fetchall()
    database.close()
    assert made == [(f"rnnlab {version('rnnlab')}, no repository",)]
