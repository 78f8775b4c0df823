"""Which code and which configuration made a run, as MLflow tags and parameters."""

import functools
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from typing import Any

from rnnlab.common.plugins import plugins
from rnnlab.config.config import Config
from rnnlab.config.overrides import flatten

CONFIG = "rnnlab.config"
"""Tag with the whole configuration, as JSON."""
IMPORTS = "rnnlab.imports"
"""Tag with the SHA-256 of every plug-in, by its file or entry point, as JSON; only where there are any."""
LISTED = {"task": "rnnlab.task", "arm": "rnnlab.arm", "T": "rnnlab.length"}
"""Parameters that repeat a tag, with that tag: the dashboard's charts and comparisons offer no tags."""


def code_tags() -> dict[str, str]:
    """Tags that name code and machine: commit, versions of Python and of what does the numbers, plug-ins, processor."""
    packages = {f"rnnlab.{name}": _version(name) for name in ("torch", "numpy", "optuna", "mlflow")}
    return {
        "rnnlab.git_commit": git_commit(),
        "rnnlab.version": _version("rnnlab"),
        "rnnlab.python": platform.python_version(),
        "rnnlab.cpu": cpu(),
        **packages,
        **({IMPORTS: json.dumps(plugins())} if plugins() else {}),
    }


def config_tags(config: Config) -> dict[str, str]:
    """Tags that name the experiment: task, length, score, seed, and the whole configuration with its hash."""
    return {
        CONFIG: json.dumps(config.model_dump(mode="json")),
        "rnnlab.task": config.task.label,
        "rnnlab.length": str(config.task.asked_length),
        "rnnlab.score_name": config.task.score_name,
        "rnnlab.seed": str(config.seed),
        "rnnlab.config_hash": config.hash,
    }


def config_params(config: Config) -> dict[str, str]:
    """The fields that the experiment's author has set, by dotted name; values as JSON, texts without quotes.

    The dashboard prints every parameter of a run beside its pictures, in comparisons and in charts, where fields that
    nobody has touched hide those that differ. The whole configuration is a tag and an artifact.
    """
    given = config.model_dump(mode="json", exclude_unset=True)
    return {
        name: value if isinstance(value, str) else json.dumps(value) for name, value in flatten(given) if value != {}
    }


def listed_params(tags: Mapping[str, str]) -> dict[str, str]:
    """The parameters that repeat tags of a run, as far as it has those tags."""
    return {name: tags[tag] for name, tag in LISTED.items() if tag in tags}


def environment() -> dict[str, Any]:
    """What this process runs on: versions of Python, system and every installed package, processor, commit."""
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "git_commit": git_commit(),
        "packages": installed(),
    }


@functools.cache
def installed() -> dict[str, str]:
    """Version of every installed package, by its name in lower case.

    Of a package that lies in several folders of the path the first counts, for Python imports that one: setuptools,
    once imported, brings older copies of a dozen packages along behind everybody else's.
    """
    found = [_head(package) for package in distributions()]
    named = [(head["Name"].lower(), head["Version"]) for head in reversed(found) if len(head) == 2]
    return dict(sorted(dict(named).items()))


def _head(package: Distribution) -> dict[str, str]:
    """Name and version, as far as its metadata say them; the library would parse the descriptions of all packages."""
    files = map(package.read_text, ("METADATA", "PKG-INFO", ""))  # the last one where the metadata are a single file
    head = next(filter(None, files), "").partition("\n\n")[0]
    return dict(re.findall(r"^(Name|Version):[ \t]*(\S+)", head, re.MULTILINE))


@functools.cache
def _version(package: str) -> str:
    return version(package)


@functools.cache
def cpu() -> str:
    """Name of the processor; its architecture where the system does not tell the name."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


@functools.cache
def git_commit() -> str:
    """Return the commit of the running code.

    Returns:
        40 hexadecimal digits, followed by `-dirty` if tracked files were changed since, or the package holds files
        that are in no commit. If the package does not lie at the top of a git repository, as when it was installed
        from a wheel, its version, which then names the code: `rnnlab 0.2.0, no repository`.
    """
    home = Path(__file__).resolve().parents[2]
    # An environment inside somebody else's repository must not borrow that repository's commit.
    if not (home / ".git").exists():
        return f"rnnlab {version('rnnlab')}, no repository"
    try:
        commit = _git(home, "rev-parse", "--verify", "HEAD")
        changes = _git(home, "status", "--porcelain", "--untracked-files=no")
        changes += _git(home, "ls-files", "--others", "--exclude-standard", "rnnlab")
    except (OSError, subprocess.SubprocessError):
        return f"rnnlab {version('rnnlab')}, commit unknown"
    return f"{commit}-dirty" if changes else commit


def named_code(commits: Iterable[str]) -> str:
    """Name code to a reader.

    Args:
        commits: what `git_commit` gave, once or more often.

    Returns:
        `commit 709bd82bf489, 8b0bd1b54cbd-dirty`, enough of each to find it by; versions as they are.
    """
    short = {commit if commit.startswith("rnnlab ") else commit[:12] + commit[40:] for commit in commits}
    return "commit " * any(not name.startswith("rnnlab ") for name in short) + ", ".join(sorted(short))


def _git(home: Path, *arguments: str) -> str:
    command = ["git", "-C", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
