"""Files that survive a kill: written whole or not at all, and known for what they are when they are damaged."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnlab.common.errors import UserError

NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""A full disk, a used up quota, and a file beyond the size that the process may write."""
_DIGEST = 65
"""Bytes of a SHA-256 in hexadecimal and its newline."""


class DamagedFileError(Exception):
    """A file that does not hold what was once written to it."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader finds the old one or the new one, never a torn one, even after a power cut.

    Args:
        path: the file; its folder is made.
        content: all of it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)  # on a full disk it would take what little room is left
        raise


def write_sealed(path: Path, content: bytes) -> None:
    """Write a file whole, with its SHA-256 in the first line."""
    write_whole(path, digest(content).encode() + b"\n" + content)


def read_sealed(path: Path) -> bytes:
    """Read what `write_sealed` wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        DamagedFileError: if a single bit of it has changed.
    """
    sealed = path.read_bytes()
    content = sealed[_DIGEST:]
    if sealed[:_DIGEST] != digest(content).encode() + b"\n":
        raise DamagedFileError(f"{path} is damaged: its SHA-256 is not the one it was written with")
    return content


def digest(content: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def set_aside(path: Path) -> Path:
    """Give a damaged file or folder a name that says so, beside where it was.

    Returns:
        The new path, `<name>.damaged-1` and so on.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.damaged-{number}")).exists():
        number += 1
    return path.rename(aside)


def lacks_room(error: BaseException) -> bool:
    """Whether an error says that nothing more can be written."""
    return isinstance(error, OSError) and error.errno in NO_ROOM


@contextmanager
def room_needed(folder: Path, command: str) -> Iterator[None]:
    """Turn the want of room for a file inside the block into one sentence.

    Args:
        folder: where the block writes.
        command: what goes on once there is room.
    """
    try:
        yield
    except OSError as error:
        if not lacks_room(error):
            raise
        free = shutil.disk_usage(next(place for place in (folder, *folder.parents) if place.exists())).free / 1e6
        raise UserError(
            f"cannot write to {folder}: {error.strerror} ({free:.0f} MB free on its disk); nothing that was written "
            f"is lost: make room, then go on with: {command}"
        ) from None
