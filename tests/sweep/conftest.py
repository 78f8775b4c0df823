"""A workplace of its own for every test: a working directory with an MLflow store that is ready."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from rnnlab.config import override

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
