"""Workers of a sweep without the seconds in which a process imports torch: in threads of this process, or forked."""

import os
import signal
import threading
from pathlib import Path

import pytest
from forked import Forked

from rnnlab.sweep.store.database_url import STORAGE_VARIABLE
from rnnlab.sweep.store.home import find_home
from rnnlab.sweep.work import supervisor, worker
from rnnlab.sweep.work.pool import WorkerPool
from rnnlab.sweep.work.worker import Worker, main


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at sweeps of a few short runs more often than would be worth it for others."""
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.1)
    monkeypatch.setattr(supervisor, "LOOKING_SHARE", 0.2)
    monkeypatch.setattr(worker, "IDLE_SECONDS", 0.1)


class ThreadPool(WorkerPool):
    """Starts threads where `WorkerPool` starts processes."""

    def _spawn(self, index: int) -> "ThreadWorker":  # type: ignore[override]
        return ThreadWorker(self.folder, self.uri, self.storage)


class ThreadWorker:
    """A worker, with what a pool asks of its process."""

    def __init__(self, folder: Path, uri: str, storage: str | None) -> None:
        self.pid, self._failed = os.getpid(), True
        self._worker = Worker(find_home(folder.parents[1], folder.name, storage), uri)
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        self._worker.work()
        self._failed = False

    def poll(self) -> int | None:
        return None if self._thread.is_alive() else int(self._failed)

    def send_signal(self, how: signal.Signals) -> None:
        self._worker.stop()


class ForkedPool(WorkerPool):
    """Forks processes where `WorkerPool` starts them: for tests that kill them, or need them apart."""

    def _spawn(self, index: int) -> Forked:  # type: ignore[override]
        self._log(index).parent.mkdir(exist_ok=True)
        self._log(index).touch()  # here, as a pool does: a disk without room for it is noticed by who starts workers
        given = {"MLFLOW_TRACKING_URI": self.uri, "OMP_NUM_THREADS": "1", STORAGE_VARIABLE: self.storage or ""}
        return Forked(work, str(self.folder), str(index), output=self._log(index), **given)


def work(folder: str, index: str) -> int:
    """What the process of a worker does."""
    return main([folder, index, str(os.getppid())])
