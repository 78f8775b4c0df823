"""A real MLflow store for every test, and a real run to put into it."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from rnnlab.config.config import Config
from rnnlab.tracking import outbox
from rnnlab.tracking import writer as writer_module
from rnnlab.tracking.artifacts import draw_figures
from rnnlab.tracking.outbox import Outbox
from rnnlab.tracking.provenance import config_params, config_tags
from rnnlab.tracking.run_state import RunState
from rnnlab.tracking.writer import Writer, start_parent
from rnnlab.training.result import Curve, Result
from rnnlab.training.runs import run


class StoredRun:
    """A run whose every word is delivered to MLflow at once, by somebody who knows nothing of earlier deliveries."""

    def __init__(self, uri: str, folder: Path, key: str, state: RunState) -> None:
        self.uri, self.entry = uri, Outbox(folder).entry(key)
        self.entry.open(state)
        self.run_id = self.deliver()

    def deliver(self) -> str:
        run_id = Writer(self.uri).deliver(self.entry)
        assert run_id is not None
        return run_id

    def log_curves(self, curves: Mapping[str, Curve]) -> None:
        self.entry.follow(curves)
        self.deliver()

    def finish(self, result: Result) -> None:
        self.entry.finish(result)
        self.deliver()

    def fail(self, reason: str, **options: Any) -> None:
        self.entry.fail(reason, **options)
        self.deliver()


@pytest.fixture(scope="session")
def figures(result: Result, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the figures of the run."""
    folder = tmp_path_factory.mktemp("drawn")
    assert result.profile is not None
    draw_figures(result.profile, folder)
    return folder


@pytest.fixture
def drawn_once(figures: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deliveries in which the figures are not drawn anew, which takes most of the time of each."""
    monkeypatch.setattr(
        writer_module, "draw_figures", lambda _, folder: shutil.copytree(figures, folder, dirs_exist_ok=True)
    )


StartRun = Callable[..., StoredRun]


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
                "recording": {"points": 2},
            }
        )
    )


@pytest.fixture
def state(result: Result) -> RunState:
    """A run that is nobody's child."""
    return RunState("demo", "a run", {"rnnlab.run": "1"}, config_tags(result.config), config_params(result.config))


@pytest.fixture
def start_run(uri: str, result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StartRun:
    """Starts a child run of the sweep `demo`, whose parent is made on the way; `start` tells starts of it apart.

    The same arm, trial and start again take the run up that is there.
    """
    monkeypatch.setattr(outbox, "FOLLOW_SECONDS", -1.0)

    def start(arm: str = "lstm", trial: int = 0, start: str = "first") -> StoredRun:
        study = {"kind": "study", "sweep": "demo", "task": "adding-9", "arm": arm, "study": f"{arm} {start}"}
        study = {f"rnnlab.{name}": value for name, value in study.items()}
        parent = start_parent(uri, "demo", "study", study, "Why?")
        identity = {"mlflow.parentRunId": parent, "rnnlab.phase": "final", "rnnlab.trial": str(trial)}
        tags = {"rnnlab.sweep": "demo", "rnnlab.arm": arm, "rnnlab.command": "rnnlab run demo.yaml"}
        tags |= config_tags(result.config)
        state = RunState("demo", f"{arm} {trial}", identity, tags, config_params(result.config))
        return StoredRun(uri, tmp_path / "outbox", f"{arm}/{start}/{trial}", state)

    return start
