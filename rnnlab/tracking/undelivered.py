"""What waits in an outbox for MLflow, counted without anything that trains or knows MLflow."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

UNDELIVERED = 4
"""Exit code of whoever leaves runs that are done on disk, because MLflow does not take them."""
DAMAGED = re.compile(r"(.+)\.damaged-\d+")
"""Name of what was set aside."""


def run_folders(outbox: Path, files: frozenset[str] = frozenset({"live.json", "ended.json"})) -> Iterator[Path]:
    """Folders of the runs in an outbox that have one of these files, those set aside left out."""
    # Not by Path.rglob, which fails where the courier removes a delivered entry in the middle of it.
    for folder, _, names in os.walk(outbox / "runs"):
        if files.intersection(names) and not DAMAGED.fullmatch(Path(folder).name):
            yield Path(folder)


def undelivered(outbox: Path) -> int:
    """Number of runs that have ended and that MLflow does not know all of."""
    return sum(1 for _ in run_folders(outbox, frozenset({"ended.json"})))
