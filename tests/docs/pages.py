"""Runs scripts, each in a process of its own that is forked from one that has imported torch and MLflow already."""

import multiprocessing
import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(["rnnlab.plots", "rnnlab.probes", "rnnlab.tracking.reader", "rnnlab.training.runs"])


class Done(NamedTuple):
    """How a script ended.

    Attributes:
        code: its exit code; 0 if it ran to its end.
        stdout: what it printed.
        stderr: its warnings and traceback.
    """

    code: int | None
    stdout: str
    stderr: str


def run_script(script: Path, environment: Mapping[str, str]) -> Done:
    """Run a script in its folder, as `python SCRIPT` does there: what it registers, sets or imports stays its own."""
    process = FORKED.Process(target=_run, args=(script, dict(environment)))
    process.start()
    process.join()
    return Done(process.exitcode, *(script.with_suffix(end).read_text(encoding="utf-8") for end in (".out", ".err")))


def _run(script: Path, environment: dict[str, str]) -> None:
    from rnnlab.plots import style

    os.chdir(script.parent)
    os.environ.update(environment)
    for stream, end in ((1, ".out"), (2, ".err")):
        os.dup2(os.open(script.with_suffix(end), os.O_WRONLY | os.O_CREAT), stream)
    sys.path.insert(0, str(script.parent))
    style.DPI = 50  # coarse figures take less time
    runpy.run_path(str(script), run_name="__main__")
