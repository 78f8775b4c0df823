"""The smallest sweep, an empty store, and a store with a small sweep.

What takes seconds to make is made once for all the processes of a test run. The package is imported by what needs it:
the process that only hands out tests never waits for torch.
"""

import copy
import functools
import gc
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

TINY: dict[str, Any] = {
    "name": "tiny",
    "question": "Does it run?",
    "base": {
        "cell": {"kind": "vanilla", "hidden_size": 4},
        "training": {"steps": 10, "eval_every": 5, "batch_size": 4, "eval_examples": 20, "test_examples": 20},
        "recording": {"points": 0},
    },
    "tasks": [{"kind": "adding", "length": 5}],
    "arms": {"tanh": {"cell.activation": "tanh"}, "lstm": {"cell.kind": "lstm"}},
    "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-2, "log": True}},
    "trials": 3,
    "seeds": 2,
    "workers": 2,
}

WriteSweep = Callable[..., Path]
StoreSweep = Callable[..., None]
MakeOnce = Callable[[str, Callable[[Path], None]], Path]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported now stays to the end: nothing of it is looked through for garbage, now or later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process is left at the end with what takes longest."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(autouse=True)
def own_randomness() -> None:
    """What a test draws from torch's global generator does not depend on what ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The smallest sweep that does everything; two arms, three search trials and two fresh seeds each."""
    return copy.deepcopy(TINY)


@pytest.fixture
def write_sweep(tmp_path: Path) -> WriteSweep:
    """Writes the tiny sweep with some fields changed, by dotted name."""
    import yaml

    from rnnlab.config.overrides import override

    def write(changes: dict[str, Any] | None = None, **fields: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(override(TINY, changes or {}) | fields))
        return path

    return write


@pytest.fixture(scope="session")
def make_once(tmp_path_factory: pytest.TempPathFactory) -> MakeOnce:
    """Makes a folder by name, unless another process of this test run has made it or is about to."""
    from rnnlab.common.locks import FileLock

    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, fill: Callable[[Path], None]) -> Path:
        folder = shared / name
        with FileLock(shared / f"{name}.lock"):
            if not (folder / "made").exists():
                shutil.rmtree(folder, ignore_errors=True)  # of a process that failed halfway
                folder.mkdir()
                fill(folder)
                (folder / "made").touch()
        return folder

    return make


@pytest.fixture(scope="session")
def empty_store(make_once: MakeOnce) -> Path:
    """An MLflow database with its schema, which takes seconds to make and is copied for each test.

    Which schema is the newest is asked whenever a database is opened; the 67 files that say so are read once.
    """
    from mlflow.store.db import utils

    from rnnlab.tracking.store import prepare_store

    if hasattr(utils, "_get_latest_schema_revision"):
        utils._get_latest_schema_revision = functools.cache(utils._get_latest_schema_revision)
    return make_once("store", lambda folder: prepare_store(f"sqlite:///{folder / 'mlflow.db'}")) / "mlflow.db"


@pytest.fixture
def coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of a third of the resolution, which are drawn and saved in half the time."""
    from rnnlab.plots import style

    monkeypatch.setattr(style, "DPI", 50)


@pytest.fixture
def workplace(tmp_path: Path, empty_store: Path, coarse: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a store; figures drawn there are coarse."""
    from rnnlab.tracking.store import tracking_uri

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    assert tracking_uri() == f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    return tmp_path


@pytest.fixture
def own_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps whose workers are threads, where the test is not of workers."""
    from own_workers import ThreadPool, hurry

    from rnnlab.sweep import runner

    monkeypatch.setattr(runner, "WorkerPool", ThreadPool)
    hurry(monkeypatch)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Who asks an SQLite file that is locked is refused after two seconds, for which MLflow would wait twenty."""
    from sqlalchemy import Engine, event

    from rnnlab.tracking import store

    def shorten(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> tuple[str, Any]:
        return statement.replace("busy_timeout = 20000", "busy_timeout = 2000"), parameters

    monkeypatch.setattr(store, "PROBE_SECONDS", 1.0)
    event.listen(Engine, "before_cursor_execute", shorten, retval=True)
    yield
    event.remove(Engine, "before_cursor_execute", shorten)


@pytest.fixture(scope="session")
def text_files() -> None:
    """Skip a test that needs the plays of Shakespeare where they can be neither found nor downloaded."""
    from rnnlab.common.errors import UserError
    from rnnlab.tasks.text import read_text

    try:
        read_text(None)
    except UserError as error:
        pytest.skip(str(error))


@pytest.fixture
def plugged() -> Iterator[None]:
    """What is plugged in while this is in use is gone afterwards."""
    from rnnlab.cells import CELLS
    from rnnlab.common import plugins
    from rnnlab.config.optimizers import OPTIMIZERS
    from rnnlab.probes.base import PROBES
    from rnnlab.remedies import REMEDIES
    from rnnlab.reproductions.registry import REPRODUCTIONS
    from rnnlab.tasks import TASKS

    with pytest.MonkeyPatch.context() as patch:
        for registry in (CELLS, TASKS, OPTIMIZERS, PROBES, REMEDIES, REPRODUCTIONS):
            len(registry)  # everything of the package is there
            patch.setattr(registry, "_entries", dict(registry._entries))
            patch.setattr(registry, "_definitions", dict(registry._definitions))
        patch.setattr(plugins, "_files", {})
        patch.setattr(plugins, "_sources", {})
        yield
        for file in plugins._files:
            sys.modules.pop(str(file), None)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of a megabyte."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.fixture(scope="session")
def small_sweep(
    tmp_path_factory: pytest.TempPathFactory, make_once: MakeOnce, empty_store: Path, store_small_sweep: StoreSweep
) -> str:
    """Tracking URI of a store with the sweep `small`: on adding-8, one search trial of each arm has failed and
    one fresh run of tanh has diverged without a score.
    """

    def fill(folder: Path) -> None:
        shutil.copy(empty_store, folder / "mlflow.db")
        store_small_sweep(f"sqlite:///{folder / 'mlflow.db'}", folder, tasks=2)

    # A copy of the database for each process, since reports are stored there too.
    return f"sqlite:///{shutil.copy(make_once('small', fill) / 'mlflow.db', tmp_path_factory.mktemp('small'))}"


@pytest.fixture(scope="session")
def store_small_sweep() -> StoreSweep:
    """Runs the sweep `small`, or its first tasks, in this process and stores it as workers would."""
    from stored_sweep import store_small_sweep

    return store_small_sweep
