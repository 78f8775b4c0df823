"""Runs on disk, on their way to MLflow: training writes here and never waits for a server.

Each run has a folder of its own, an entry, whose files say how far it is:

    runs/<key>/live.json       the run so far, replaced every twenty seconds for those who watch the dashboard
    runs/<key>/files/          its artifacts
    runs/<key>/ended.json      the run as it ended: from here on it is safe, whatever happens to MLflow
    receipts/<key>.json        what is kept of it once MLflow has everything, and the folder is gone

Every file is written whole, under its SHA-256; what is damaged all the same is set aside as `<key>.damaged-1`.
"""

import os
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from rnnlab.common.files import DamagedFileError, digest, read_sealed, set_aside, write_sealed, write_whole
from rnnlab.tracking.artifacts import artifacts
from rnnlab.tracking.run_state import REASON_LENGTH, RunState, Status, now
from rnnlab.tracking.undelivered import DAMAGED, run_folders, undelivered
from rnnlab.training.result import Curve, Result

FOLLOW_SECONDS = 20.0
"""Wall time between two writes of a run that is still going: the dashboard looks again every thirty seconds."""
OUTCOMES: dict[Status, str] = {"FAILED": "failed", "KILLED": "pruned"}


class Outbox:
    """All entries below one folder.

    Args:
        folder: where they are; it need not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def entry(self, key: str) -> "Entry":
        """The entry of a run, whether it exists or not.

        Args:
            key: its path below the outbox.
        """
        return Entry(self.folder, key)

    def entries(self) -> list["Entry"]:
        """Every entry that MLflow does not know all of: those that have ended first."""
        runs = self.folder / "runs"
        entries = [self.entry(str(path.relative_to(runs))) for path in run_folders(self.folder)]
        return sorted(entries, key=lambda entry: (not entry.has_ended, entry.folder))

    def undelivered(self) -> int:
        """Number of runs that have ended and that MLflow does not know all of."""
        return undelivered(self.folder)

    def clear(self) -> None:
        """Remove the receipts, which nobody needs once every run is delivered; what was set aside stays, with them."""
        if not any(self.folder.rglob("*.damaged-*")):
            shutil.rmtree(self.folder, ignore_errors=True)

    def lost(self) -> Iterator[str]:
        """Keys of entries that were set aside as damaged and that no new one has taken the place of."""
        runs = self.folder / "runs"
        for folder in sorted(Path(parent, name) for parent, names, _ in os.walk(runs) for name in names):
            name = DAMAGED.fullmatch(folder.name)
            if name:
                entry = self.entry(str(folder.with_name(name[1]).relative_to(runs)))
                if not entry.folder.exists() and not entry.receipt.exists():
                    yield entry.key


class Entry:
    """One run on disk: written by the process that trains it, and delivered by another.

    Args:
        outbox: folder of the outbox.
        key: path of the entry below it.
    """

    def __init__(self, outbox: Path, key: str) -> None:
        self.key = key
        self.folder = outbox / "runs" / key
        self.receipt = outbox / "receipts" / f"{key}.json"
        self.state: RunState | None = None
        self._began = self._written = 0.0

    @property
    def live(self) -> Path:
        return self.folder / "live.json"

    @property
    def ended(self) -> Path:
        return self.folder / "ended.json"

    @property
    def files(self) -> Path:
        return self.folder / "files"

    @property
    def has_ended(self) -> bool:
        return self.ended.exists()

    def read(self) -> RunState | None:
        """The newest word on the run; None where there is none, or what there is has just been set aside as damaged."""
        for path in (self.receipt, self.ended, self.live):
            try:
                return RunState.decode(read_sealed(path))
            except FileNotFoundError:
                continue
            except DamagedFileError as error:
                if path != self.receipt:
                    self.set_aside(error)
                    return None
                set_aside(path)  # what it was for, MLflow can tell
        return None

    def outcome(self) -> RunState | None:
        """How the run ended; None where it has not."""
        state = self.read()
        return None if state is None or state.status == "RUNNING" else state

    def set_aside(self, reason: Exception) -> None:
        """Make room for a new entry in the place of a damaged one."""
        warnings.warn(f"{reason}; its folder is kept as {set_aside(self.folder).name}", stacklevel=2)

    def open(self, state: RunState) -> None:
        """Start a run, or take one up that was interrupted.

        Args:
            state: who it is. Of an interrupted run, what came before is kept, and so is its identity.
        """
        before = self.read()
        if before is not None:
            state = replace(before, tags=state.tags, params=state.params)
        self._began = time.monotonic() - state.seconds
        self._write_live(state)

    def follow(self, curves: Mapping[str, Curve]) -> None:
        """Note the curves so far, and write them now and then."""
        state = self._open_state
        moments = {step: now() for curve in curves.values() for step in curve.steps if step not in state.times}
        state = replace(state, curves=curves, times={**state.times, **moments}, seconds=self._seconds)
        if time.monotonic() - self._written > FOLLOW_SECONDS:
            self._write_live(state)
        self.state = state

    def finish(self, result: Result, tags: Mapping[str, str] | None = None) -> RunState:
        """End the run with its result: once this returns, nothing of it can be lost.

        Args:
            result: what the run returned; configuration, profile and probes become artifacts.
            tags: to be added to those it has.

        Returns:
            The run as it ended.
        """
        shutil.rmtree(self.files, ignore_errors=True)  # of an attempt that was killed here
        digests = {}
        for name, content in artifacts(result).items():
            write_whole(self.files / name, content)
            digests[name] = digest(content)
        self.follow(result.history)
        state = self._open_state
        state = replace(
            state,
            tags={**state.tags, **(tags or {})},
            seconds=result.seconds,
            summary=result.summary(),
            files=digests,
        )
        return self.end(state, "FINISHED", result.outcome)

    def fail(self, reason: str, status: Status = "FAILED") -> RunState:
        """End the run without a result; how far it came is its summary.

        Args:
            reason: why, in words; the end of a long text is kept.
            status: FAILED for an error, KILLED for a pruned trial.

        Returns:
            The run as it ended.
        """
        state = self._open_state
        tags = {**state.tags, "rnnlab.reason": reason[-REASON_LENGTH:]}
        spent = {"steps": float(state.updates), "seconds": self._seconds}
        return self.end(replace(state, tags=tags, summary=spent), status, OUTCOMES[status])

    def end(self, state: RunState, status: Status, outcome: str) -> RunState:
        """Write the run as it ended."""
        self.state = replace(state, status=status, outcome=outcome, ended=now())
        write_sealed(self.ended, self.state.encode())
        return self.state

    def discard(self) -> None:
        """Forget what the run was, because it goes on."""
        self.receipt.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def close(self, run_id: str) -> None:
        """Keep no more than a receipt, now that MLflow has everything."""
        state = self.read()
        if state is not None:
            write_sealed(self.receipt, replace(state.without_bulk(), run_id=run_id).encode())
            shutil.rmtree(self.folder, ignore_errors=True)
            with suppress(OSError):  # the next seed of its slot may be there
                self.folder.parent.rmdir()  # whoever looks for entries walks through every folder that is left

    @property
    def _open_state(self) -> RunState:
        assert self.state is not None, "open the entry first"
        return self.state

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _write_live(self, state: RunState) -> None:
        write_sealed(self.live, state.encode())
        self.state, self._written = state, time.monotonic()
