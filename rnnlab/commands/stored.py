"""Runs of the command line on their way to MLflow: one process at a time, nothing lost, what waits is said."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from rnnlab.common.errors import UserError
from rnnlab.common.files import lacks_room, room_needed
from rnnlab.common.interrupts import Interrupted
from rnnlab.common.locks import FileLock
from rnnlab.common.plugins import blamed
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.config.device import usable
from rnnlab.tracking.courier import Courier
from rnnlab.tracking.outbox import Entry, Outbox
from rnnlab.tracking.undelivered import UNDELIVERED

EXPERIMENT = "runs"
"""MLflow experiment of single runs; sweeps have one of their own each."""
CHECKPOINTS = Path("runs/checkpoints")


def command_line() -> str:
    """The command that runs, as it can be given again."""
    return shlex.join(["rnnlab", *sys.argv[1:]])


def check_start(config: Config) -> None:
    """Let a missing device or missing data speak up before anything is written."""
    usable(config.device)
    config.task.sample(make_generator(config.seed, "probe"), 1)


@contextmanager
def held(folder: Path, what: str) -> Iterator[None]:
    """Keep a folder for what is not finished, and hold it against a second process.

    Args:
        folder: made where it is missing.
        what: runs there, as the user knows it.

    Raises:
        UserError: if another process is at it, or the disk is full.
    """
    with room_needed(folder, command_line()):
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        if not lock.acquire(wait=False):
            raise UserError(f"another process runs {what}: wait for it, or stop it first")
        try:
            yield
        finally:
            lock.release()


@contextmanager
def resumable(console: Console) -> Iterator[None]:
    """Leave a block that is interrupted with code 130, and say how to go on with it."""
    try:
        yield
    except Interrupted as interruption:
        console.print(f"{interruption}; the same command continues from there")
        raise SystemExit(130) from None


@contextmanager
def delivering(outbox: Outbox, uri: str, console: Console) -> Iterator[None]:
    """See to MLflow what a block puts into an outbox.

    Raises:
        SystemExit: with code 4 where MLflow does not take every run; the same command delivers the rest.
    """
    with Courier(outbox, uri) as courier:
        try:
            yield
        except BaseException:
            courier.wait()
            raise
        if left := courier.wait():
            runs, them = ("the run waits", "it") if left == 1 else (f"{left} runs wait", "them")
            for line in (
                f"{runs} on disk, as MLflow does not take {them}: {courier.problem}",
                f"deliver {them} with: {command_line()}",
            ):
                console.print(line, markup=False, highlight=False, soft_wrap=True)
            raise SystemExit(UNDELIVERED)


@contextmanager
def failing(entry: Entry) -> Iterator[None]:
    """End a run as failed where a block raises, unless it is to go on: interrupted, or for want of room."""
    try:
        yield
    except Interrupted:
        raise
    except Exception as error:
        if not lacks_room(error):
            entry.fail(blamed(error) or f"{type(error).__name__}: {error}")
        raise
