"""Runs read straight from the tables of an SQLite store.

MLflow makes objects of every tag and metric of a run, which takes milliseconds, and has no public way to ask for less;
curves are one request each. Read as they lie, in one transaction, ten thousand runs take a second or two, so that
nothing has to be kept beside the store that could become stale. Other tables than the expected ones raise
`sqlite3.Error`, and the caller asks MLflow instead.
"""

import contextlib
import math
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

LOCKED_SECONDS = 20.0
"""How long a writer is waited for, as MLflow does."""
_CHOSEN = """
SELECT r.run_uuid, r.status FROM tags t JOIN runs r USING (run_uuid) JOIN experiments e USING (experiment_id)
WHERE t.key = ? AND t.value = ? AND r.lifecycle_stage = 'active' AND e.lifecycle_stage = 'active'
ORDER BY r.start_time, r.run_uuid
"""
# CROSS JOIN keeps the order of the loops: run by run, as rows lie in the file.
_TAGS = "SELECT t.run_uuid, t.key, t.value FROM chosen CROSS JOIN tags t USING (run_uuid)"
_METRICS = """
SELECT m.run_uuid, m.key, CASE WHEN m.is_nan THEN NULL ELSE m.value END
FROM chosen CROSS JOIN latest_metrics m USING (run_uuid)
"""
_CURVES = """
SELECT m.run_uuid, m.step, CASE WHEN m.is_nan THEN NULL ELSE m.value END
FROM chosen CROSS JOIN metrics m INDEXED BY index_metrics_run_uuid_key_step
ON m.run_uuid = chosen.run_uuid AND m.key = ?
"""


class StoredRun(NamedTuple):
    """A run as the store has it, with the last value of every metric."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]


Points = list[tuple[int, float]]
"""Step and value of every point of a curve."""


def tagged_runs(path: Path, key: str, value: str) -> list[StoredRun]:
    """Read all runs with a tag that are not deleted, oldest first.

    Args:
        path: the store's file.
        key: name of the tag.
        value: its value.

    Raises:
        sqlite3.Error: if the file is locked for long, or holds other tables.
    """
    with _snapshot(path) as database:
        runs = [StoredRun(run_id, status, {}, {}) for run_id, status in database.execute(_CHOSEN, (key, value))]
        _choose(database, [run.run_id for run in runs])
        known = {run.run_id: run for run in runs}
        for run_id, name, text in database.execute(_TAGS):
            known[run_id].tags[name] = text
        for run_id, name, number in database.execute(_METRICS):
            known[run_id].metrics[name] = math.nan if number is None else number
    return runs


def curves(path: Path, run_ids: Sequence[str], key: str) -> dict[str, Points]:
    """Read one curve of many runs.

    Args:
        path: the store's file.
        run_ids: which.
        key: name of the metric.

    Returns:
        The curve of every run, without points where it has none.

    Raises:
        sqlite3.Error: if the file is locked for long, or holds other tables.
    """
    found: dict[str, Points] = {run_id: [] for run_id in run_ids}
    with _snapshot(path) as database:
        _choose(database, run_ids)
        for run_id, step, number in database.execute(_CURVES, (key,)):
            found[run_id].append((step, math.nan if number is None else number))
    return found


@contextlib.contextmanager
def _snapshot(path: Path) -> Iterator[sqlite3.Connection]:
    """The file as of one moment, however much is written meanwhile."""
    # Not mode=ro, in which SQLite cannot undo what a kill has left half written.
    file = f"file:{quote(str(path))}?mode=rw"
    with contextlib.closing(sqlite3.connect(file, LOCKED_SECONDS, uri=True, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = -200000")  # KiB; with SQLite's own 2 MB pages are read again and again
        database.execute("BEGIN")
        yield database


def _choose(database: sqlite3.Connection, run_ids: Sequence[str]) -> None:
    """Name the runs that are read, in a table that this connection alone sees."""
    database.execute("CREATE TEMP TABLE chosen (run_uuid TEXT PRIMARY KEY)")
    database.executemany("INSERT INTO chosen VALUES (?)", [(run_id,) for run_id in run_ids])
