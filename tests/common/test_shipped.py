"""What comes with the package is found by name, in a clone and from a wheel."""

import os
import re
import runpy
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


def test_links_of_a_package_that_knows_no_repository_are_words():
    described = runpy.run_path(str(ROOT / "setup.py"))["described"]
    page = "[here](docs/a.md#b), ![seen](a.png) [there](https://example.org/x), [below](#below)"
    assert described(page, None) == "here,  [there](https://example.org/x), [below](#below)"


@pytest.mark.slow
def test_a_wheel_works_in_an_empty_folder(tmp_path):
    source, empty, installed = tmp_path / "source", tmp_path / "an empty folder", tmp_path / "installed"
    empty.mkdir()
    for name in ("rnnlab", "sweeps", "experiments"):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy2(ROOT / name, source / name)
    for command in (["init", "--quiet"], ["remote", "add", "origin", "git@example.org:team/rnnlab.git"]):
        subprocess.run(["git", *command], cwd=source, check=True)
    build = "import sys; from setuptools.build_meta import build_wheel; build_wheel(sys.argv[1])"  # as pip does
    subprocess.run([sys.executable, "-c", build, str(tmp_path)], cwd=source, stdout=subprocess.DEVNULL, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(installed)
    (metadata,) = (path.read_text() for path in installed.glob("*.dist-info/METADATA"))
    assert "Project-URL: Repository, https://example.org/team/rnnlab\n" in metadata
    leads = re.findall(r"\]\(https://example.org/team/rnnlab/(?:blob|raw)/main/([^)#]+)", metadata)
    assert len(leads) > 40 and all((ROOT / lead).exists() for lead in leads)
    assert not re.search(r"\]\((?!https://|#)", metadata)
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
