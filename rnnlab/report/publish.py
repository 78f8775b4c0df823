"""Puts finished files where readers look for them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnlab.common.errors import UserError


def make_folder(out: Path) -> None:
    """Make a folder before the work whose result is to end up in it.

    Raises:
        UserError: if it cannot be made.
    """
    with _explained(out):
        out.mkdir(parents=True, exist_ok=True)


def publish(draft: Path, out: Path) -> None:
    """Move every file of a folder into place, each at once, so that no reader meets half a file.

    Args:
        draft: folder of what was written.
        out: where to; made if it is missing, and nothing else in it is touched.

    Raises:
        UserError: if it cannot be written to.
    """
    with _explained(out):
        for source in sorted(path for path in draft.rglob("*") if path.is_file()):
            target = out / source.relative_to(draft)
            target.parent.mkdir(parents=True, exist_ok=True)
            partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
            try:
                partial.write_bytes(source.read_bytes())
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)


@contextmanager
def _explained(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write the report to {out}: {error.strerror}; choose a folder you can write to"
        ) from None
