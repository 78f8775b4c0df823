"""Processes that need not import torch again, which takes seconds: forked from one that has done nothing else.

They are as real as others, and are killed and signalled as others are; nothing of the test comes along but what they
are given.
"""

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

FORKED = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    ["pytest", "mlflow", "psycopg", "rnnlab.sweep.runner", "rnnlab.sweep.work.worker", "rnnlab.report.drawing"]
)


class Forked:
    """A process, with what `subprocess.Popen` has of one.

    Args:
        do: what it does; its exit code is what this returns.
        arguments: of it.
        output: takes what it prints.
        environment: variables beside those of this process.
    """

    def __init__(self, do: Callable[..., int], *arguments: Any, output: Path | str = os.devnull, **environment: str):
        begin = (do, arguments, str(output), {**os.environ, **environment})
        self._process = FORKED.Process(target=_begin, args=begin, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid

    def poll(self) -> int | None:
        """Its exit code once it has ended; minus the number of the signal that killed it."""
        return self._process.exitcode

    def wait(self, seconds: float | None = None) -> int | None:
        """Its exit code, or None if it has not ended by then."""
        self._process.join(seconds)
        return self._process.exitcode

    def send_signal(self, how: signal.Signals) -> None:
        """Signal it, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, how)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def start_server() -> None:
    """Let whoever forks from now on fork from this server: there is one a process, and the first to ask starts it."""
    forkserver.ensure_running()


def command_line(*arguments: str) -> int:
    """What the process of a command does."""
    from rnnlab.commands.cli import main

    sys.argv = ["rnnlab", *arguments]
    main()
    return 0


def _begin(do: Callable[..., int], arguments: tuple[Any, ...], output: str, environment: dict[str, str]) -> None:
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(environment)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(file, stream)
    sys.stdout, sys.stderr = (os.fdopen(stream, "w", buffering=1, closefd=False) for stream in (1, 2))
    sys.exit(do(*arguments))
