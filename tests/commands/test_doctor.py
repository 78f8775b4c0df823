"""The doctor: each check finds what it is there for, says how to mend it, and changes nothing."""

import io
import re
import shutil
import socket
import urllib.request
import warnings
from importlib import metadata
from pathlib import Path
from typing import NoReturn

import pytest
import torch
from rich.console import Console

from rnnlab.commands import doctor, gpus, packages, together
from rnnlab.commands.doctor import Diagnosis, examine, fit, print_findings
from rnnlab.common import locks
from rnnlab.config.config import load_config
from rnnlab.scan.native import build
from rnnlab.tasks import data
from rnnlab.training import memory
from rnnlab.training.memory import most_members

CHECKS = "python packages versions kernels cells cores together gpu mnist text storage tracking database"
SUBJECTS = CHECKS.split()


def finding(subject: str) -> Diagnosis:
    return next(found for found in examine() if found.subject == subject)


def report(width: int = 80, terminal: bool = False) -> tuple[list[Diagnosis], list[str]]:
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=terminal, color_system=None)
    return print_findings(console), file.getvalue().splitlines()


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory, without data and without a network."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a look must not download")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "CHECKOUT", tmp_path / "nowhere" / "checkout")
    monkeypatch.delenv("RNNLAB_DATA", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return tmp_path


def test_one_line_a_check_in_a_pipe_and_nothing_left_behind(bare: Path) -> None:
    _, lines = report()
    assert [line.split()[1] for line in lines] == SUBJECTS
    assert {line.split()[0] for line in lines} <= {"ok", "warning"}
    assert list(bare.iterdir()) == []


def test_a_terminal_gets_it_wrapped(bare: Path) -> None:
    _, lines = report(width=80, terminal=True)
    _, whole = report()
    assert all(len(line) <= 80 or len(line.split()) == 1 for line in lines)  # a long path stays whole
    assert " ".join(" ".join(lines).split()) == " ".join(" ".join(whole).split())


@pytest.mark.parametrize(("level", "healthy"), [("ok", True), ("warning", True), ("problem", False)])
def test_only_a_problem_counts(monkeypatch: pytest.MonkeyPatch, level: doctor.Level, healthy: bool) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: iter([Diagnosis("ok", "a", "fine"), Diagnosis(level, "b", "so so")]))
    assert fit(report()[0]) == healthy


def test_a_check_that_breaks_is_a_problem_and_the_others_go_on(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> NoReturn:
        raise ModuleNotFoundError("No module named 'torch'")

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", broken)
    levels = {found.subject: found.level for found in examine()}
    assert list(levels) == SUBJECTS
    assert levels["cores"] == "problem" and levels["storage"] == "ok"
    assert "No module named 'torch'" in finding("cores").text


def test_another_python_is_needed(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding("python").level == "ok"
    monkeypatch.setattr(metadata, "metadata", lambda _: {"Requires-Python": ">=99.1"})
    assert finding("python").level == "problem" and ">=99.1 is needed" in finding("python").text


def test_packages_that_are_missing_or_too_old_are_named_with_the_cure(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert finding("packages").level == "ok"
    declared = ["numpy>=99", "nobody-has-this", "torch>=2", "nor-this; extra == 'dev'"]
    monkeypatch.setattr(metadata, "requires", lambda _: declared)
    found = finding("packages")
    assert found.level == "problem"
    assert f"numpy>=99 (found {metadata.version('numpy')}), nobody-has-this (found none)" in found.text
    assert found.text.endswith("pip install 'numpy>=99' 'nobody-has-this'")


def test_versions_other_than_the_tested_ones_are_a_warning(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Path(__file__).parents[2] / "constraints.txt" == doctor.CONSTRAINTS and doctor.CONSTRAINTS.exists()
    pins = bare / "constraints.txt"
    monkeypatch.setattr(doctor, "CONSTRAINTS", pins)
    assert finding("versions").level == "ok"  # there are none to compare with
    installed = {"torch": "2.13.0+cpu", "numpy": "2.0.0"}
    monkeypatch.setattr(packages, "installed", installed.get)
    pins.write_text("torch==2.13.0\nnot-installed==1.0\n")
    assert finding("versions") == Diagnosis("ok", "versions", "the 1 installed are those of constraints.txt")
    pins.write_text("torch==2.13.0\nnumpy==2.4.6\n")
    found = finding("versions")
    assert found.level == "warning" and found.text.startswith("numpy 2.0.0 (tested 2.4.6): ")


def test_without_kernels_it_says_why(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def load() -> None:
        warnings.warn("no C++ compiler was found", RuntimeWarning, stacklevel=2)

    monkeypatch.setattr(build, "load", load)
    found = finding("kernels")
    assert found.level == "warning" and found.text.startswith("no C++ compiler was found; install")


def test_cores_that_keep_denormals_are_a_warning(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_flush_denormal", lambda _: False)
    assert finding("cores").level == "warning"


def test_it_says_how_many_runs_train_together_and_what_that_saves(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for cache in (1 << 26, 1 << 21):
        monkeypatch.setattr(memory, "CACHE", cache)
        found = finding("together")
        most, mebibytes = most_members(load_config("adding")), cache >> 20
        assert found.level == "ok"
        assert found.text.startswith(
            f"a worker trains up to {most} runs of adding side by side (what fits into {mebibytes} MiB"
        )
    alone, among = (float(number) for number in re.findall(r"([\d.]+) ms", found.text))
    assert 0 < among < alone


def test_what_has_a_line_of_its_own_is_not_said_between_the_lines(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def describe() -> str:
        warnings.warn("no C++ compiler was found", RuntimeWarning, stacklevel=2)
        return "some"

    monkeypatch.setattr(together, "describe", describe)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert finding("together") == Diagnosis("ok", "together", "some")


def test_a_gpu_that_torch_cannot_use_is_a_warning(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}" if name == "nvidia-smi" else None)
    assert finding("gpu").level == "warning" and torch.__version__ in finding("gpu").text


def test_a_gpu_is_tried_and_one_that_fails_is_a_warning(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, recorded = gpus.speed(torch.device("cpu"))  # the code that runs on each GPU
    assert 0 < plain < 10 and 0 < recorded < 10
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(gpus, "describe", lambda number: f"Some GPU {number}: fast")
    assert finding("gpu").text == "Some GPU 0: fast; experiments use the CPU unless device says otherwise"

    def fail(number: int) -> str:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpus, "describe", fail)
    assert finding("gpu").level == "warning" and "CUDA out of memory" in finding("gpu").text


def test_data_that_are_not_here_are_a_warning_and_corrupt_ones_a_problem(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = finding("mnist")
    assert found.level == "warning" and "train-images-idx3-ubyte.gz" in found.text and "RNNLAB_DATA" in found.text
    folder = bare / "elsewhere"
    folder.mkdir()
    (folder / "input.txt").write_text("To be, or not to be")
    monkeypatch.setenv("RNNLAB_DATA", str(folder))
    found = finding("text")
    assert found.level == "problem" and str(folder / "input.txt") in found.text and "replace it" in found.text


def test_a_place_that_cannot_be_written_to_is_a_problem(bare: Path) -> None:
    Path("runs").write_text("a file where the folder should be")
    found = finding("storage")
    assert found.level == "problem" and f"{bare / 'runs'}: Not a directory" in found.text


def test_locks_that_do_not_exclude_are_a_problem(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks.fcntl, "flock", lambda *_: None)  # as on some network file systems
    found = finding("storage")
    assert found.level == "problem" and "file locks do nothing" in found.text


@pytest.mark.parametrize(("free", "level"), [(50.0, "ok"), (1.0, "warning"), (0.1, "problem")])
def test_a_full_disk(bare: Path, monkeypatch: pytest.MonkeyPatch, free: float, level: str) -> None:
    usage = shutil.disk_usage(bare)._replace(free=int(free * 1e9))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    assert finding("storage").level == level
    assert ("make room" in finding("storage").text) == (level != "ok")


def test_the_tracking_store(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finding("tracking").text.endswith("runs/mlflow.db answers")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///fresh.db")
    assert finding("tracking").level == "ok" and not Path("fresh.db").exists()
    Path("fresh.db").write_text("no database at all")
    assert finding("tracking").level == "problem"
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{closed.getsockname()[1]}")
        found = finding("tracking")
    assert found.level == "problem" and "no MLflow server answers" in found.text
