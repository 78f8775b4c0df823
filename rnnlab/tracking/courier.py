"""Takes runs from disk to MLflow beside whatever the process does."""

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from rnnlab.common.errors import UserError
from rnnlab.common.locks import FileLock
from rnnlab.tracking.outbox import Entry, Outbox
from rnnlab.tracking.store import check, without_credentials
from rnnlab.tracking.writer import Writer

LOOK_SECONDS = 0.2
"""Between two looks for something new."""
RETRY_SECONDS = 3.0
"""After a store has refused, or has not answered."""
PATIENCE_SECONDS = 20.0
"""How long somebody who has nothing else to do waits for a store that takes nothing."""
FEWEST_FAILURES = 2
"""And at least as many attempts in a row have failed, so that one run that is refused does not stand for all."""


class Courier:
    """A thread that delivers whatever lies in an outbox; a context manager.

    A store that refuses, or does not answer, is asked again and again; whoever writes into the outbox notices
    nothing of it. One run that is refused holds up no other: it comes last the next time. Of several couriers of one
    outbox, in as many processes, one works, and another takes over when it leaves.

    Args:
        outbox: where the runs are.
        uri: MLflow tracking URI of a prepared store.

    Attributes:
        problem: what was wrong at the last attempt, in words; None where nothing was.
    """

    def __init__(self, outbox: Outbox, uri: str) -> None:
        self.outbox, self.uri = outbox, uri
        self.problem: str | None = None
        self._writer = Writer(uri)
        self._turn = FileLock(outbox.folder / "courier.lock")
        self._refused: dict[Path, int] = {}
        self._seen: dict[Path, int] = {}
        self._progressed, self._failures, self._left = time.monotonic(), 0, 0
        self._leave = threading.Event()
        self._thread = threading.Thread(target=self._work, name="courier", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave.set()
        # A server that hangs may hold the thread for a while; it can be left to itself, as it can be killed.
        self._thread.join(timeout=LOOK_SECONDS if self.problem else PATIENCE_SECONDS)

    def is_done(self, since: float = 0.0) -> bool:
        """Whether everything that has ended is delivered, or so long nothing was that it is time to give up.

        Args:
            since: when the waiting began, on the monotonic clock.
        """
        before, self._left = self._left, self.outbox.undelivered()
        if not self._left:
            return True
        if self._left < before:  # by another courier, for all this one knows
            self._progressed = time.monotonic()
        waited = time.monotonic() - max(since, self._progressed)
        return self._failures >= FEWEST_FAILURES and waited > PATIENCE_SECONDS

    def wait(self) -> int:
        """Wait until there is nothing left to deliver, or no hope to.

        Returns:
            Number of runs that are left.
        """
        began = time.monotonic()
        while not self.is_done(began):
            time.sleep(0.1)
        return self.outbox.undelivered()

    def wait_for(self, entry: Entry) -> None:
        """Wait until one entry that has ended is delivered, or no longer than patience goes."""
        began = time.monotonic()
        while not entry.receipt.exists() and not self.problem and time.monotonic() - began < PATIENCE_SECONDS:
            time.sleep(0.02)

    def _work(self) -> None:
        self.outbox.folder.mkdir(parents=True, exist_ok=True)
        try:
            while not self._turn.acquire(wait=False):
                self._failures += 1
                if self._leave.wait(LOOK_SECONDS):
                    return
            while not self._leave.wait(RETRY_SECONDS if self.problem else LOOK_SECONDS):
                self.deliver_all()
        finally:
            self._turn.release()

    def deliver_all(self) -> None:
        """Deliver what there is, up to the first refusal."""
        entry = None
        try:
            if self.problem is not None:
                check(self.uri)
            for entry in sorted(self.outbox.entries(), key=lambda entry: self._refused.get(entry.folder, 0)):
                if self._leave.is_set():
                    return
                self._deliver(entry)
            self.problem = None
        except Exception as error:  # whatever it is, the next attempt may do better
            self._failures += 1
            if entry is not None:
                self._refused[entry.folder] = self._refused.get(entry.folder, 0) + 1
            self.problem = without_credentials(self.uri, " ".join(self._explain(error).split()))

    def _explain(self, error: Exception) -> str:
        """What was wrong: in a sentence, where the store itself is not there any more."""
        if isinstance(error, UserError):
            return str(error)
        try:
            check(self.uri)
        except UserError as plain:
            return str(plain)
        return f"{type(error).__name__}: {error}"

    def _deliver(self, entry: Entry) -> None:
        """Deliver one entry, if it has changed since."""
        path = entry.ended if entry.has_ended else entry.live
        try:
            changed = path.stat().st_mtime_ns
        except FileNotFoundError:
            return  # it has ended this very moment
        if self._seen.get(entry.folder) != changed:
            self._writer.deliver(entry)
            self._seen[entry.folder] = changed
            self._progressed, self._failures = time.monotonic(), 0
