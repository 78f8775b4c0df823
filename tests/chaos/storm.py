"""Kills the processes of one real sweep, again and again, at moments drawn from a seed."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
import requests
from optuna.trial import FrozenTrial, TrialState

from rnnlab.sweep.store.journal import open_storage

PARENT = "import sys; from rnnlab.sweep.runner import run_sweep; sys.exit(run_sweep(sys.argv[1]).exit_code)"
STUCK_SECONDS = 600.0
"""Longest wait for anything to happen."""


class Server:
    """A real MLflow server on a free port of this machine."""

    def __init__(self, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.folder, self.uri = folder, f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Start it, again on the same port and the same store."""
        store = ["--backend-store-uri", f"sqlite:///{self.folder}/runs/mlflow.db", "--artifacts-destination"]
        command = [sys.executable, "-m", "mlflow", "server", *store, f"{self.folder}/artifacts"]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment, start_new_session=True)
        wait_for(lambda: requests.get(f"{self.uri}/health", timeout=5).ok)

    def kill(self) -> None:
        """Kill it with its helpers: no request in the middle is answered."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@dataclass
class Storm:
    """A sweep and what happens to it.

    Attributes:
        path: its definition; it must last longer than the storm.
        folder: its folder.
        kills: how many processes are to be killed.
        seed: of victims, signals and moments.
        server: an MLflow server that is struck too.
        struck: how often what was killed how.
        starts: how often the parent was started.
        done: trials that were completed at the last strike.
    """

    path: Path
    folder: Path
    kills: int
    seed: int
    server: Server | None = None
    struck: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    done: int = 0

    def rage(self) -> None:
        """Kill, and start the parent again wherever it is gone, until the sweep is complete."""
        rng = random.Random(self.seed)
        self._start()
        try:
            while self.struck.total() < self.kills:
                self._await_progress()
                time.sleep(rng.uniform(0.0, 1.5))
                self._strike(rng)
            while self.parent.wait(STUCK_SECONDS):
                self._start()
        finally:
            self.parent.kill()
            self.parent.wait()

    def _start(self) -> None:
        self.starts += 1
        environment = {**os.environ, **({"MLFLOW_TRACKING_URI": self.server.uri} if self.server else {})}
        with Path("parent.log").open("ab") as log:
            command = [sys.executable, "-c", PARENT, self.path.name]
            self.parent = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def _strike(self, rng: random.Random) -> None:
        if self.server is not None and rng.random() < 0.2:
            self.server.kill()
            time.sleep(rng.uniform(0.0, 3.0))
            self.server.start()
            self.struck["server SIGKILL"] += 1
            return
        how = rng.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
        who = "parent" if rng.random() < 0.3 else "worker"
        victims = [self.parent.pid] if who == "parent" else self._workers()
        try:
            os.kill(rng.choice(victims), how)
        except (IndexError, ProcessLookupError):  # it has just ended by itself
            return
        self.struck[f"{who} {how.name}"] += 1

    def _await_progress(self) -> None:
        """Wait until some trial was completed since the last strike: a sweep that gets nowhere would end never."""

        def moved() -> bool:
            if self.parent.poll() is not None:
                assert self.parent.returncode, "the sweep was over before the storm: give it more trials"
                self._start()
            done = sum(trial.state == TrialState.COMPLETE for trial in trials(self.folder))
            progress = done > self.done and bool(self._workers())
            self.done = done if progress else self.done
            return progress

        wait_for(moved)

    def _workers(self) -> list[int]:
        pids = [path.read_text().strip() for path in sorted((self.folder / "workers").glob("*.lock"))]
        return [int(pid) for pid in pids if pid and _is_worker(int(pid))]


def trials(folder: Path) -> list[FrozenTrial]:
    """Every trial of a sweep, of all its studies."""
    if not (folder / "journal.log").exists():
        return []
    storage = open_storage(folder)
    return [trial for study in storage.get_all_studies() for trial in storage.get_all_trials(study._study_id)]


def wait_for(condition: Callable[[], Any]) -> Any:
    """The first true value of a condition."""
    deadline = time.monotonic() + STUCK_SECONDS
    while time.monotonic() < deadline:
        try:
            if value := condition():
                return value
        except (OSError, KeyError, requests.RequestException, optuna.exceptions.OptunaError):
            pass
        time.sleep(0.1)
    raise AssertionError(f"nothing happened within {STUCK_SECONDS} s")


def _is_worker(pid: int) -> bool:
    """Whether a process is alive and ours, and its number not somebody else's by now."""
    try:
        return b"rnnlab.sweep.work.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
