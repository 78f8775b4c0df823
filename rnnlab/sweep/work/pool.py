"""The worker processes of this machine: started, replaced when they die, told to stop."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rnnlab.common.errors import UserError
from rnnlab.common.locks import FileLock
from rnnlab.common.machine import usable_gpus
from rnnlab.sweep.store.database_url import STORAGE_VARIABLE
from rnnlab.sweep.store.slots import worker_name

STOP_SECONDS = 60.0
"""Longest wait for a worker of an earlier parent: it saves a checkpoint first."""
KILL_SECONDS = 10.0
"""How long a killed process may take to vanish."""
POLL_SECONDS = 0.1
NO_ROOM = 28
"""Exit code of a worker that could not write a file; its trial is left as it was."""
KILLERS = {"SIGKILL": ", by somebody or by the kernel for want of memory"}


@dataclass(frozen=True)
class EndedWorker:
    """A worker that ended without being told to by its pool.

    Attributes:
        name: its name, as noted with the trials it claimed.
        reason: how it ended, in words.
        crashed: whether it broke; a worker that somebody else asked to stop, or that found no room to write, did not.
        no_room: whether it could not write a file.
    """

    name: str
    reason: str
    crashed: bool
    no_room: bool = False


class Pool(Protocol):
    """Starts the workers of a supervisor; what they do is the same wherever they are started.

    Attributes:
        size: number of workers.
    """

    size: int

    def start(self) -> None:
        """Start the workers that are missing."""
        ...

    def collect_ended(self) -> list[EndedWorker]:
        """Take the workers that have ended out of the pool, and say how they ended."""
        ...

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Tell every worker to save its checkpoint and leave; with SIGKILL, end it at once."""
        ...

    @property
    def empty(self) -> bool:
        """Whether no worker is alive."""
        ...

    def log(self, index: int) -> str:
        """Where a worker's output goes."""
        ...


class WorkerPool:
    """Keeps a fixed number of workers alive as processes of this machine.

    Args:
        folder: the sweep's folder.
        size: number of worker processes.
        uri: MLflow tracking URI.
        storage: URL of the database, where the sweep's home is one.
    """

    def __init__(self, folder: Path, size: int, uri: str, storage: str | None = None) -> None:
        self.folder, self.size, self.uri, self.storage = folder, size, uri, storage
        self.processes: dict[int, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start the workers that are missing."""
        for index in range(self.size):
            if index not in self.processes:
                self.processes[index] = self._spawn(index)

    def collect_ended(self) -> list[EndedWorker]:
        """Take the workers that have ended out of the pool, and say how they ended."""
        ended = []
        for index, process in list(self.processes.items()):
            code = process.poll()
            if code is not None:
                del self.processes[index]
                reason, no_room = self._explain(index, code), code == NO_ROOM
                ended.append(
                    EndedWorker(worker_name(process.pid), reason, crashed=code != 0 and not no_room, no_room=no_room)
                )
        return ended

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Signal every worker: SIGTERM asks for a checkpoint first, SIGKILL does not ask."""
        for process in self.processes.values():
            process.send_signal(how)

    @property
    def empty(self) -> bool:
        """Whether no worker is alive."""
        return all(process.poll() is not None for process in self.processes.values())

    def log(self, index: int) -> str:
        """The file that a worker's output goes to."""
        return str(self._log(index))

    def _log(self, index: int) -> Path:
        return self.folder / "workers" / f"{index}.log"

    def _spawn(self, index: int) -> subprocess.Popen[bytes]:
        self._log(index).parent.mkdir(exist_ok=True)
        # One thread each unless the configuration says otherwise: more only get into each other's way.
        environment = {**os.environ, "MLFLOW_TRACKING_URI": self.uri, "OMP_NUM_THREADS": "1"}
        environment[STORAGE_VARIABLE] = self.storage or ""  # where everybody can see a command, nobody sees a password
        if gpus := usable_gpus():  # workers share them evenly, and none sees those of others
            environment["CUDA_VISIBLE_DEVICES"] = gpus[index % len(gpus)]
        command = [sys.executable, "-m", "rnnlab.sweep.work.worker", str(self.folder), str(index), str(os.getpid())]
        with self._log(index).open("ab") as log:
            # A group of its own, so that Ctrl-C reaches the parent alone, which then tells its workers.
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, process_group=0
            )

    def _explain(self, index: int, code: int) -> str:
        if code == 0:
            return "its worker was asked to stop"
        if code < 0:
            name = signal.Signals(-code).name
            return f"its worker was killed by {name}{KILLERS.get(name, '')}"
        lines = self._log(index).read_text(errors="replace").strip().splitlines()
        return f"its worker ended with code {code}: {lines[-1] if lines else 'no message'}"


def end_leftover_workers(folder: Path) -> None:
    """End the workers of a parent that was killed; they notice by themselves, but may be in the middle of something.

    A worker holds the lock on a file with its process id in it, so that a recycled id is never mistaken for it.

    Raises:
        UserError: if one of them cannot be ended.
    """
    for path in sorted((folder / "workers").glob("*.lock")):
        lock = FileLock(path)
        began = time.monotonic()
        while not lock.acquire(wait=False):
            pid, waited = path.read_text().strip(), time.monotonic() - began
            if waited > STOP_SECONDS + KILL_SECONDS:
                raise UserError(f"process {pid}, a worker of an earlier start, holds {path} and does not end: end it")
            if pid.isdigit():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGTERM if waited < STOP_SECONDS else signal.SIGKILL)
            time.sleep(POLL_SECONDS)
        lock.release()
