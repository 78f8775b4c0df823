"""Which code and which configuration made a run, as MLflow tags and parameters."""

import functools
import json
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rnnlab.config import Config


def code_tags() -> dict[str, str]:
    """Tags that name the code: commit and version of rnnlab, versions of Python and of what does the numbers."""
    packages = {f"rnnlab.{name}": version(name) for name in ("torch", "numpy", "optuna", "mlflow")}
    return {
        "rnnlab.git_commit": git_commit(),
        "rnnlab.version": version("rnnlab"),
        "rnnlab.python": platform.python_version(),
        **packages,
    }


def config_tags(config: Config) -> dict[str, str]:
    """Tags that name the experiment: task, length, score, seed, hash of the configuration."""
    return {
        "rnnlab.task": config.task.label,
        "rnnlab.length": str(getattr(config.task, "length", config.task.steps)),
        "rnnlab.score_name": config.task.score_name,
        "rnnlab.seed": str(config.seed),
        "rnnlab.config_hash": config.hash,
    }


def config_params(config: Config) -> dict[str, str]:
    """Every field of a configuration by dotted name; the values are spelled as JSON, texts without quotes."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in _leaves(config.model_dump(mode="json"))
    }


@functools.cache
def git_commit() -> str:
    """Return the commit of the running code.

    Returns:
        40 hexadecimal digits, followed by `-dirty` if tracked files were changed since; `unknown` if the
        package does not lie at the top of a git repository, as when it was installed from a wheel.
    """
    home = Path(__file__).resolve().parents[2]
    # An environment inside somebody else's repository must not borrow that repository's commit.
    if not (home / ".git").exists():
        return "unknown"
    try:
        commit = _git(home, "rev-parse", "--verify", "HEAD")
        changes = _git(home, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return f"{commit}-dirty" if changes else commit


def _git(home: Path, *arguments: str) -> str:
    command = ["git", "-C", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def _leaves(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, value in data.items():
        leaves += _leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]
    return leaves
