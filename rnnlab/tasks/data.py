"""Data files: found on this machine or else downloaded, and never used unless their SHA-256 is right."""

import hashlib
import os
import urllib.request
from collections.abc import Sequence
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from rnnlab.common.errors import UserError

CHECKOUT = Path(__file__).resolve().parents[2]
TIMEOUT = 10.0
"""Seconds a mirror may stay silent."""


class DataFile(NamedTuple):
    """A published file that never changes.

    Attributes:
        dataset: the folder it lies in, such as "mnist".
        name: its file name.
        sha256: the checksum of its bytes as stored, compressed or not.
        mirrors: folders on the web that offer it.
    """

    dataset: str
    name: str
    sha256: str
    mirrors: tuple[str, ...]


def places(dataset: str) -> list[Path]:
    """List the folders in which a data set is looked for, best first; the last is where downloads go.

    The environment variable RNNLAB_DATA names either a folder of data sets or that of one data set.
    """
    given = os.environ.get("RNNLAB_DATA")
    folders = [Path(given).expanduser() / dataset, Path(given).expanduser()] if given else []
    shared = [root.parent / "shared" / "data" / dataset for root in (CHECKOUT, Path.cwd())]
    return list(dict.fromkeys([*folders, *shared, Path.cwd() / "data" / dataset]))


def read(file: DataFile) -> bytes:
    """Read a data file, downloading it first where it is in none of the `places`.

    Args:
        file: which file.

    Returns:
        Its bytes, of which the checksum is right.

    Raises:
        UserError: if a file of that name is corrupt, or none is there and no mirror answers.
    """
    folders = places(file.dataset)
    for path in (folder / file.name for folder in folders):
        if not path.is_file():
            continue
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; make it readable or remove it") from None
        if _sha256(content) != file.sha256:
            raise UserError(
                f"{path} is corrupt or another file of that name: its SHA-256 is {_sha256(content)}, not "
                f"{file.sha256}; replace it by the original or remove it"
            )
        return content
    return _download(file, folders)


def _download(file: DataFile, looked_in: Sequence[Path]) -> bytes:
    """Fetch a file from the first mirror that has the right bytes, and keep it in the last folder."""
    failures: list[str] = []
    for mirror in file.mirrors:
        url = f"{mirror}/{file.name}"
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as response:
                content = response.read()
            if _sha256(content) == file.sha256:
                _store(content, looked_in[-1] / file.name)
                return content
            failures.append(f"{url}: wrong SHA-256")
        except (OSError, HTTPException) as error:
            failures.append(f"{url}: {error}")
    raise UserError(
        f"{file.name} of data set '{file.dataset}' is in none of {', '.join(map(str, looked_in))} and could "
        f"not be downloaded ({'; '.join(failures)}): put it into a folder and set RNNLAB_DATA to that folder"
    )


def _store(content: bytes, path: Path) -> None:
    """Write a file so that other processes see all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    partial.replace(path)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
