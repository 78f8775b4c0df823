"""Tags and parameters name exactly the code and the configuration that ran."""

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distributions, version
from pathlib import Path

import pytest

from rnnlab.config.config import Config
from rnnlab.tracking import provenance
from rnnlab.tracking.provenance import (
    code_tags,
    config_params,
    config_tags,
    environment,
    git_commit,
    installed,
    named_code,
)

CONFIG = Config.parse(
    {
        "task": {"kind": "copying", "length": 7},
        "cell": {"kind": "vanilla", "activation": "relu"},
        "optimizer": {"kind": "sgd", "lr": 1e-5},
        "remedies": {"clipping": {"by": "norm", "threshold": 0.25}},
        "seed": 3,
    }
)


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Iterator[Path]:
    """A git repository that the package believes to lie in."""
    (tmp_path / "rnnlab" / "tracking").mkdir(parents=True)
    (tmp_path / "code.py").write_text("1")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "rnnlab" / "tracking" / "provenance.py"))
    git_commit.cache_clear()
    yield tmp_path
    git_commit.cache_clear()


def test_commit_is_the_head_and_only_code_that_is_in_no_commit_makes_it_dirty(checkout):
    head = git(checkout, "rev-parse", "HEAD")
    (checkout / "notes.md").write_text("2")  # beside the package, where nothing imports it
    assert git_commit() == head
    git_commit.cache_clear()
    (checkout / "rnnlab" / "cells.py").write_text("a cell of one's own")
    assert git_commit() == f"{head}-dirty"
    (checkout / "rnnlab" / "cells.py").unlink()
    git_commit.cache_clear()
    (checkout / "code.py").write_text("3")
    assert git_commit() == f"{head}-dirty"


def test_commit_of_a_surrounding_repository_is_not_borrowed(checkout, monkeypatch):
    inside = checkout / "venv" / "rnnlab" / "tracking" / "provenance.py"
    inside.parent.mkdir(parents=True)
    monkeypatch.setattr(provenance, "__file__", str(inside))
    made = f"rnnlab {version('rnnlab')}, no repository"
    assert git_commit() == code_tags()["rnnlab.git_commit"] == environment()["git_commit"] == made


def test_commit_of_an_empty_repository_is_unknown(tmp_path, monkeypatch, checkout):
    inside = tmp_path / "new" / "rnnlab" / "tracking" / "provenance.py"
    inside.parent.mkdir(parents=True)
    git(tmp_path / "new", "init", "-q")
    monkeypatch.setattr(provenance, "__file__", str(inside))
    assert git_commit() == f"rnnlab {version('rnnlab')}, commit unknown"


def test_a_reader_is_told_the_start_of_commits_and_versions_as_they_are():
    a, b, installed = "a" * 40, "b" * 40 + "-dirty", "rnnlab 0.2.0, no repository"
    assert named_code([b, a, a]) == f"commit {'a' * 12}, {'b' * 12}-dirty"
    assert named_code([installed]) == installed
    assert named_code([installed, a]) == f"commit {'a' * 12}, {installed}"
    assert named_code([]) == ""


def test_parameters_are_the_fields_that_were_set_and_the_tag_gives_the_configuration_back():
    assert config_params(CONFIG) == {
        "task.kind": "copying",
        "task.length": "7",
        "cell.kind": "vanilla",
        "cell.activation": "relu",
        "optimizer.kind": "sgd",
        "optimizer.lr": "1e-05",
        "remedies.clipping.by": "norm",
        "remedies.clipping.threshold": "0.25",
        "seed": "3",
    }
    assert Config.parse(json.loads(config_tags(CONFIG)["rnnlab.config"])) == CONFIG


def test_tags_name_task_seed_and_hash():
    tags = config_tags(CONFIG)
    del tags["rnnlab.config"]
    assert tags == {
        "rnnlab.task": "copying-7",
        "rnnlab.length": "7",
        "rnnlab.score_name": "accuracy",
        "rnnlab.seed": "3",
        "rnnlab.config_hash": CONFIG.hash,
    }
    packages = {"python", "torch", "numpy", "optuna", "mlflow"}
    assert set(code_tags()) == {f"rnnlab.{name}" for name in {"git_commit", "version", "cpu"} | packages}


def test_the_environment_names_every_installed_package_and_its_version():
    packages = environment()["packages"]
    installed_here = distributions(path=[sysconfig.get_path("purelib")])
    assert {package.name.lower(): package.version for package in installed_here}.items() <= packages.items()
    assert "torch" in packages and list(packages) == sorted(packages)


def test_of_two_copies_of_a_package_the_one_that_python_imports_is_named(tmp_path, monkeypatch):
    copy = tmp_path / "torch-0.1.dist-info" / "METADATA"
    copy.parent.mkdir()
    copy.write_text("Metadata-Version: 2.1\nName: torch\nVersion: 0.1\n\nVersion: 0.2 will be better.\n")
    (tmp_path / "broken-1.0.dist-info").mkdir()  # of an installation that was cut short
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    assert installed.__wrapped__()["torch"] == version("torch")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    assert installed.__wrapped__()["torch"] == "0.1"
