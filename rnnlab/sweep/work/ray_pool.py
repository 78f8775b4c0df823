"""The workers of a Ray cluster: one long-lived actor each, which runs the same worker as everywhere else."""

import logging
import os
import signal
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnlab.common.errors import UserError
from rnnlab.sweep.store.slots import worker_name
from rnnlab.sweep.work.pool import EndedWorker

try:
    import ray
    from ray.exceptions import RayError
except ImportError:
    raise UserError("--engine ray needs the package ray: pip install 'rnnlab[cluster]'") from None

CONNECT_SECONDS = 5.0


class Actor:
    """A worker inside a process of Ray's.

    Args:
        folder: the sweep's folder; checkpoints go there.
        storage: URL of the database. Arguments of an actor are shown nowhere; its environment would be.
        uri: MLflow tracking URI.
    """

    def __init__(self, folder: str, storage: str, uri: str) -> None:
        from rnnlab.sweep.store.home import find_home
        from rnnlab.sweep.work.worker import Worker

        self.worker = Worker(find_home(Path(folder).parents[1], Path(folder).name, storage), uri)

    def name(self) -> str:
        """The name that the worker signs its trials with."""
        return worker_name()

    def work(self) -> None:
        """Run slots until told to stop."""
        self.worker.work()

    def stop(self) -> None:
        """Save a checkpoint and leave."""
        self.worker.stop()


@dataclass
class _Actor:
    """An actor as its pool knows it: the answers that are under way, and its name once it has said it."""

    actor: Any
    name: Any
    work: Any
    signature: str = ""


class RayPool:
    """Keeps a fixed number of workers alive on a Ray cluster, wherever it has room for them.

    Args:
        folder: the sweep's folder, which should be the same shared folder on every machine.
        size: number of workers.
        uri: MLflow tracking URI.
        storage: URL of the database.
        address: of the cluster, as host:port.
        gpus: reserved for each worker, beside one core.

    Raises:
        UserError: if there is no cluster at the address.
    """

    def __init__(self, folder: Path, size: int, uri: str, storage: str, address: str, gpus: float) -> None:
        self.folder, self.size, self.uri, self.storage = folder, size, uri, storage
        _check_address(address)
        try:
            # Ray would hand the driver's output on to the terminal, in the middle of the table.
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, namespace="rnnlab")
        except (RayError, ConnectionError, RuntimeError, ValueError) as error:
            raise UserError(f"cannot join the Ray cluster at {address}: {str(error).splitlines()[0]}") from None
        self._make: Any = ray.remote(Actor)
        # Two methods at once, or nobody could tell a worker that works to stop.
        self._needs = {"num_cpus": 1, "num_gpus": gpus, "max_concurrency": 2, "max_restarts": 0}
        self._members: dict[int, _Actor] = {}

    def start(self) -> None:
        """Ask Ray for the workers that are missing; they start once it has room for them."""
        for index in range(self.size):
            if index not in self._members:
                actor = self._make.options(**self._needs).remote(str(self.folder), self.storage, self.uri)
                self._members[index] = _Actor(actor, actor.name.remote(), actor.work.remote())

    def collect_ended(self) -> list[EndedWorker]:
        """Take the workers that have ended out of the pool, and say how they ended."""
        ended = []
        for index, member in list(self._members.items()):
            if not member.signature and _ready(member.name):
                member.signature = _outcome(member.name)[0] or ""
            if _ready(member.work):
                del self._members[index]
                _, error = _outcome(member.work)
                ray.kill(member.actor)  # a call fails as well while a machine is out of reach, and its actor lives on
                reason = f"its worker on Ray was lost: {_explain(error)}" if error else "its worker was asked to stop"
                ended.append(EndedWorker(member.signature, reason, crashed=error is not None))
        return ended

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Tell every worker to leave; one that Ray has not started yet is taken back."""
        for member in self._members.values():
            if how == signal.SIGKILL or not _ready(member.name):
                ray.kill(member.actor)
            else:
                member.actor.stop.remote()

    @property
    def empty(self) -> bool:
        """Whether no worker is alive."""
        return all(_ready(member.work) for member in self._members.values())

    def log(self, index: int) -> str:
        """Where Ray keeps the output of its processes."""
        return f"{os.environ.get('RAY_TMPDIR', '/tmp')}/ray/session_latest/logs on the machine that it ran on"


def _ready(reference: Any) -> bool:
    done, _ = ray.wait([reference], timeout=0)
    return bool(done)


def _outcome(reference: Any) -> tuple[Any, Exception | None]:
    try:
        return ray.get(reference), None
    except Exception as error:  # whatever ended the actor, its own error included
        return None, error


def _explain(error: Exception) -> str:
    """What Ray says, in its last line that says something."""
    cause = getattr(error, "cause", None)
    said = f"{type(cause).__name__}: {cause}" if cause is not None else str(error)
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1][:300]}" if lines else type(error).__name__


def _check_address(address: str) -> None:
    """Knock first: Ray itself would go on trying for a minute."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, ValueError):
        raise UserError(
            f"no Ray cluster answers at {address}: start one with `ray start --head`, and name it as host:port"
        ) from None
