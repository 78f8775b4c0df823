"""Starts a study: a folder with an experiment, a sweep, a cell, a remedy and a notebook to change."""

from pathlib import Path

from rnnlab.common.errors import UserError
from rnnlab.common.files import write_whole
from rnnlab.common.shipped import FOLDER


def start_study(folder: Path) -> list[Path]:
    """Write the files of a study.

    Args:
        folder: is made; holds nothing yet.

    Returns:
        The files, in the order of their names.

    Raises:
        UserError: if it holds anything, or cannot be written.
    """
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(f"{folder} is there already, and nothing is overwritten: name a new folder")
        written = []
        for source in sorted(path for path in (FOLDER / "study").iterdir() if path.is_file()):
            write_whole(folder / source.name, source.read_bytes())
            written.append(folder / source.name)
        return written
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}; name a folder that you can write to") from None
