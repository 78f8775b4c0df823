"""A real MLflow store for every test, and a real run to put into it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from rnnlab.config import Config
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.writer import RunWriter, start_parent
from rnnlab.training.loop import run
from rnnlab.training.result import Result

StartRun = Callable[..., RunWriter]


@pytest.fixture
def uri(empty_store: Path, tmp_path: Path) -> str:
    """Tracking URI of an empty store of this test alone."""
    path = tmp_path / "mlflow.db"
    shutil.copy(empty_store, path)
    return f"sqlite:///{path}"


@pytest.fixture(scope="session")
def result() -> Result:
    """A short run of two LSTM layers that recorded gradients."""
    return run(
        Config.parse(
            {
                "task": {"kind": "adding", "length": 9},
                "cell": {"kind": "lstm", "hidden_size": 4},
                "model": {"num_layers": 2},
                "training": {"steps": 20, "eval_every": 5, "batch_size": 8, "eval_examples": 20, "test_examples": 20},
                "recording": {"points": 4},
            }
        )
    )


@pytest.fixture
def start_run(uri: str, result: Result) -> StartRun:
    """Starts a child run of the sweep `demo`, whose parent is made on the way; `start` tells starts of it apart."""

    def start(arm: str = "lstm", trial: int = 0, start: str = "first", **options: str) -> RunWriter:
        study = {"kind": "study", "sweep": "demo", "task": "adding-9", "arm": arm, "study": f"{arm} {start}"}
        study = {f"rnnlab.{name}": value for name, value in study.items()}
        parent = start_parent(uri, "demo", "study", study, "Why?")
        tags = {"rnnlab.sweep": "demo", "rnnlab.arm": arm, "rnnlab.phase": "final", "rnnlab.trial": str(trial)}
        tags |= {**config_tags(result.config), "rnnlab.command": "rnnlab run demo.yaml"}
        return RunWriter.start(uri, "demo", f"{arm} {trial}", tags, config_params(result.config), parent, **options)

    return start
