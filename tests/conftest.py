"""The smallest sweep, an empty store, and a store with a small sweep and everything that can happen to a run in it."""

import copy
import math
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from plugged import plugged  # noqa: F401, a fixture of every test

from rnnlab.config.overrides import override
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.outline import Phase
from rnnlab.sweep.plan.study import StudyPlan
from rnnlab.sweep.show.mlflow_page import open_overview
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.record import Record
from rnnlab.tracking.store import prepare, tracking_uri
from rnnlab.tracking.writer import Writer, log_file, start_parent
from rnnlab.training.loop import run

SMALL: dict[str, Any] = {
    "name": "small",
    "question": "Does <b>anything</b> help?",
    "base": {
        "cell": {"kind": "vanilla", "hidden_size": 4},
        "training": {"steps": 8, "eval_every": 4, "batch_size": 4, "eval_examples": 20, "test_examples": 20},
        "recording": {"points": 3},
    },
    "tasks": [
        {"kind": "adding", "length": 8},
        {"kind": "delayed_recall", "length": 5, "with": {"recording.points": 0}},
    ],
    "arms": {"tanh": {"cell.activation": "tanh"}, "lstm": {"cell.kind": "lstm"}},
    "search": {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}},
    "trials": 2,
    "seeds": 2,
}

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


@pytest.fixture
def tiny() -> dict[str, Any]:
    """The smallest sweep that does everything; two arms, three search trials and two fresh seeds each."""
    return copy.deepcopy(TINY)


@pytest.fixture
def write_sweep(tmp_path: Path) -> WriteSweep:
    """Writes the tiny sweep with some fields changed, by dotted name."""

    def write(changes: dict[str, Any] | None = None, **fields: Any) -> Path:
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(override(TINY, changes or {}) | fields))
        return path

    return write


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database with its schema, which takes seconds to make and is copied for each test."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    prepare(f"sqlite:///{path}")
    return path


@pytest.fixture
def workplace(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory with a store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "runs").mkdir()
    shutil.copy(empty_store, tmp_path / "runs" / "mlflow.db")
    assert tracking_uri() == f"sqlite:///{tmp_path / 'runs' / 'mlflow.db'}"
    return tmp_path


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
def small_sweep(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, store_small_sweep: StoreSweep) -> str:
    """Tracking URI of a store with the sweep `small`: on adding-8, one search trial of each arm has failed and
    one fresh run of tanh has diverged without a score.
    """
    folder = tmp_path_factory.mktemp("small")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    shutil.copy(empty_store, folder / "mlflow.db")
    store_small_sweep(uri, folder, tasks=2)
    return uri


@pytest.fixture(scope="session")
def store_small_sweep() -> StoreSweep:
    """Runs the sweep `small`, or its first tasks, in this process and stores it as workers would."""
    return _store_small_sweep


def _store_small_sweep(uri: str, folder: Path, tasks: int) -> None:
    fields = {**SMALL, "tasks": SMALL["tasks"][:tasks]}
    source = folder / "sweep.yaml"
    source.write_text(yaml.safe_dump(fields, sort_keys=False))
    definition = SweepDefinition.parse(fields)
    open_overview(uri, definition, source)
    for plan in definition.studies:
        tags = {"rnnlab.kind": "study", "rnnlab.sweep": "small", "rnnlab.task": plan.task, "rnnlab.arm": plan.arm}
        parent = start_parent(uri, "small", plan.name, tags, definition.question)
        log_file(uri, parent, source)
        for phase, slot, seed in _slots(definition):
            _write_run(uri, folder, parent, definition, plan, phase, slot, seed)


def _slots(definition: SweepDefinition) -> Iterator[tuple[Phase, int, int]]:
    for slot in range(definition.search_trials):
        yield "search", slot, definition.seed
    for slot, seed in enumerate(definition.final_seeds()):
        yield "final", slot, seed


def _write_run(
    uri: str,
    folder: Path,
    parent: str,
    definition: SweepDefinition,
    plan: StudyPlan,
    phase: Phase,
    slot: int,
    seed: int,
) -> None:
    """Train one slot and store it as a worker does."""
    points = definition.planned_points(plan)
    point = points[slot if phase == "search" else 0]
    config = plan.config(point, seed)
    settings = " ".join(f"{name}={value}" for name, value in {**point, "seed": seed}.items())
    identity = {"mlflow.parentRunId": parent, "rnnlab.phase": phase, "rnnlab.trial": str(slot)}
    tags = {
        "rnnlab.sweep": definition.name,
        "rnnlab.arm": plan.arm,
        "rnnlab.command": f"rnnlab run sweeps/all.yaml --budget small --task {plan.task} --arm {plan.arm} {settings}",
    }
    record = Record(
        "small",
        f"{plan.task} " * (len(definition.tasks) > 1) + f"{plan.arm} {phase} {slot}",
        identity,
        {**config_tags(config), **tags},
        config_params(config),
    )
    entry = Outbox(folder / "outbox").entry(f"{plan.name}/{phase}-{slot}")
    entry.open(record)
    if (plan.task, phase, slot) == ("adding-8", "search", 1):
        entry.fail("out of memory")
    else:
        result = run(config)
        if (plan.name, phase, slot) == ("adding-8/tanh", "final", 1):
            result = replace(result, outcome="diverged", test_loss=math.nan, test_score=math.nan)
        entry.finish(result)
    Writer(uri).deliver(entry)
