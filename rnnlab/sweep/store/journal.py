"""The journal in which Optuna keeps a sweep's trials, made safe against kills in the middle of a line."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from rnnlab.common.errors import UserError
from rnnlab.common.locks import FileLock


class Journal(JournalFileBackend):
    """Optuna's journal file under an flock; whoever appends next first cuts what a kill left half written.

    Optuna's own lock files outlive their owner, which stalls everybody else until a grace period is over and then
    may let two processes in at once; and a half-written line followed by another makes the journal unreadable.

    Args:
        path: the journal; it is made where it is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path
        self.lock = FileLock(path.with_name(f"{path.name}.lock"))
        self._gathered: list[dict[str, Any]] | None = None

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """One transaction: nobody else appends meanwhile, and what is appended inside is written, and read, at the end.

        A kill loses all of it, or, in the middle of writing, cuts it after a whole line.
        """
        with self.lock:
            self._gathered = []
            try:
                yield
                gathered = self._gathered
            finally:
                self._gathered = None
            if gathered:
                self._write(gathered)

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        if self._gathered is not None:
            self._gathered += logs
            return
        with self.lock:
            self._write(logs)

    def _write(self, logs: list[dict[str, Any]]) -> None:
        """Append, for whoever holds the lock."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        with self.path.open("r+b", buffering=0) as file:
            _cut_torn_line(self.path)
            end = file.seek(0, os.SEEK_END)
            try:
                while lines:
                    lines = lines[file.write(lines) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(end)  # on a full disk: to cut takes no room, to set a torn line aside would
                raise

    def repair(self) -> None:
        """Cut a torn last line, keeping a copy of it.

        Raises:
            UserError: if any other line cannot be read; nothing is changed then.
        """
        with self.lock:
            torn = self.check()
            if torn is not None:
                _set_aside(self.path, torn)

    def check(self) -> int | None:
        """Look through all lines.

        Returns:
            Where a last line starts that cannot be read; None where all can.

        Raises:
            UserError: if any other line cannot be read.
        """
        broken: int | None = None
        start = 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                if broken is not None:
                    raise UserError(
                        f"journal {self.path} is unreadable at line {broken}: restore the file from a backup, or "
                        f"delete {self.path.parent} to start the sweep anew"
                    )
                if not _readable(line):
                    broken, start = number, file.tell() - len(line)
        return None if broken is None else start


def open_storage(folder: Path, repair: bool = False) -> JournalStorage:
    """Open the storage of a sweep's folder.

    Args:
        folder: the sweep's folder.
        repair: look through the whole journal first; for the parent, before any worker.

    Raises:
        UserError: if the journal cannot be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal = Journal(folder / "journal.log")
    if repair:
        journal.repair()
    try:
        return JournalStorage(journal)
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        journal.check()
        raise UserError(
            f"journal {journal.path} cannot be replayed ({type(error).__name__}: {error}): restore the file from a "
            f"backup, or delete {folder} to start the sweep anew"
        ) from None


def _readable(line: bytes) -> bool:
    if not line.endswith(b"\n"):
        return False
    try:
        return "op_code" in json.loads(line)
    except (ValueError, TypeError):
        return False


def _cut_torn_line(path: Path) -> None:
    """Cut a last line without its newline; looks no further back than it has to."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        if end == 0:
            return
        file.seek(end - 1)
        if file.read(1) == b"\n":
            return
    whole = path.read_bytes()
    _set_aside(path, whole.rfind(b"\n") + 1)


def _set_aside(path: Path, start: int) -> None:
    """Move everything from byte `start` on into a file of its own."""
    with path.open("rb") as file:
        file.seek(start)
        torn = file.read()
    number = len(list(path.parent.glob(f"{path.name}.torn-*"))) + 1
    path.with_name(f"{path.name}.torn-{number}").write_bytes(torn)
    os.truncate(path, start)
