"""A sweep's state in PostgreSQL, where workers on many machines meet.

Every sweep has a schema of its own, so that several share a database and none sees another's studies. In it lie
Optuna's tables and one index of ours, by which the database itself refuses a try of a slot that was enqueued before.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, NamedTuple

import optuna
import sqlalchemy as sa
from optuna.trial import FrozenTrial
from sqlalchemy import exc
from sqlalchemy.pool import NullPool

from rnnlab.common.errors import UserError
from rnnlab.sweep.store.database_url import CONNECT_SECONDS, explained, parse_url, shown_url
from rnnlab.sweep.store.optuna_private import with_cache
from rnnlab.sweep.store.postgres_trial import read_trial
from rnnlab.sweep.store.retrying import RetryingBackend

PREFIX = "rnnlab_"
LONGEST_NAME = 63 - len(PREFIX)
"""PostgreSQL cuts longer names of schemas without a word."""

_HELD = """
SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
AND (classid::bigint << 32) | objid::bigint = :key
"""
_BEAT = """
INSERT INTO trial_heartbeats (trial_id, heartbeat)
SELECT trial_id, localtimestamp FROM trials WHERE trial_id = :trial AND state = 'RUNNING'
ON CONFLICT (trial_id) DO UPDATE SET heartbeat = localtimestamp RETURNING 1
"""
_PULSES = """
SELECT t.trial_id, w.value_json::json #>> '{}' AS worker, h.heartbeat,
       extract(epoch FROM localtimestamp - h.heartbeat)::float AS age
FROM trials t LEFT JOIN trial_heartbeats h USING (trial_id)
LEFT JOIN trial_user_attributes w ON w.trial_id = t.trial_id AND w.key = 'worker'
WHERE t.state = 'RUNNING'
"""
_CLAIM = """
WITH picked AS (
    SELECT t.trial_id, (p.value_json <> '"final"', o.task, s.value_json::int, o.position) AS place
    FROM trials t
    JOIN unnest(:studies, :tasks) WITH ORDINALITY AS o (study_id, task, position) USING (study_id)
    JOIN trial_user_attributes p ON p.trial_id = t.trial_id AND p.key = 'phase'
    JOIN trial_user_attributes s ON s.trial_id = t.trial_id AND s.key = 'slot'
    WHERE t.state = 'WAITING' ORDER BY place LIMIT :most
), taken AS (
    UPDATE trials t SET state = 'RUNNING', datetime_start = :now FROM picked WHERE t.trial_id = picked.trial_id
    RETURNING t.study_id, t.trial_id, place
), named AS (
    INSERT INTO trial_user_attributes (trial_id, key, value_json) SELECT trial_id, 'worker', :worker FROM taken
)
SELECT study_id, trial_id FROM taken ORDER BY place
"""
_NOTE = """
SELECT value_json FROM studies JOIN study_user_attributes USING (study_id) WHERE study_name = :study AND key = :key
"""
_ONE_TICKET_A_TRY = """
CREATE UNIQUE INDEX IF NOT EXISTS rnnlab_ticket ON trial_user_attributes (value_json) WHERE key = 'ticket'
"""


class Pulse(NamedTuple):
    """The sign of life of a running trial.

    Attributes:
        worker: who runs it; None for the moment between claim and signature.
        beat: when it last gave one, by the database's clock; None if never.
        age: seconds since then.
    """

    worker: str | None
    beat: Any
    age: float | None


class Database:
    """The state of one sweep in PostgreSQL.

    Args:
        url: `postgresql+psycopg://USER:PASSWORD@HOST/DATABASE`.
        sweep: name of the sweep.

    Raises:
        UserError: if the URL is something else, or the driver is missing; the message holds no password.
    """

    def __init__(self, url: str, sweep: str) -> None:
        self._url = parse_url(url)
        if len(sweep) > LONGEST_NAME:
            long = f"sweep '{sweep}' has a name of {len(sweep)} characters"
            raise UserError(f"{long}, and with --storage {LONGEST_NAME} are the most: shorten it")
        self.sweep, self.schema = sweep, f"{PREFIX}{sweep}"
        digest = hashlib.sha256(self.schema.encode()).digest()
        self._key = int.from_bytes(digest[:8], "big", signed=True)
        self.engine = self._engine(pool_size=1, max_overflow=1, pool_pre_ping=True)

    @property
    def shown(self) -> str:
        """The URL without any password in it, for messages."""
        return shown_url(self._url)

    def create(self) -> None:
        """Make schema and tables where they are missing; for the one process that holds the sweep's lock.

        Raises:
            UserError: if the database cannot be reached, or the user may not make a schema.
        """
        with self._explained():
            with self.engine.begin() as connection:
                connection.execute(sa.text(f'CREATE SCHEMA IF NOT EXISTS "{self.schema}"'))
            optuna.storages.RDBStorage(self._text, self._options(poolclass=NullPool)).engine.dispose()
            with self.engine.begin() as connection:
                connection.execute(sa.text(_ONE_TICKET_A_TRY))

    def open(self, told_to_stop: Callable[[], bool] = lambda: False) -> optuna.storages.BaseStorage:
        """Open Optuna's storage of a sweep that exists; it waits for a server that is away, unless told to stop.

        Raises:
            UserError: if the database cannot be reached, or its tables are of another version of Optuna.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with self._explained():
            # One connection a process; Optuna takes a second one for a moment while it looks at its version.
            options = self._options(pool_size=1, max_overflow=1)
            backend = optuna.storages.RDBStorage(self._text, options, skip_table_creation=True)
            return with_cache(RetryingBackend(backend, told_to_stop, self))

    def known(self) -> list[str]:
        """Names of the sweeps in the database.

        Raises:
            UserError: if it cannot be reached.
        """
        query = "SELECT schemaname FROM pg_indexes WHERE indexname = 'rnnlab_ticket' ORDER BY 1"
        with self._explained(), self.engine.connect() as connection:
            schemas = connection.execute(sa.text(query)).scalars().all()
        return [schema.removeprefix(PREFIX) for schema in schemas if schema.startswith(PREFIX)]

    def note(self, study: str, key: str) -> Any:
        """What stands with a study, in one statement, where opening Optuna's storage takes a dozen.

        Raises:
            UserError: if the database cannot be reached.
        """
        with self._explained(), self.engine.connect() as connection:
            return json.loads(connection.execute(sa.text(_NOTE), {"study": study, "key": key}).scalar_one())

    def lock(self) -> "SweepLock":
        """The lock that the one supervisor of the sweep holds."""
        return SweepLock(self._engine(poolclass=NullPool, isolation_level="AUTOCOMMIT"), self._key)

    def is_supervised(self) -> bool:
        """Whether some process holds that lock."""
        with self._explained(), self.engine.connect() as connection:
            return connection.execute(sa.text(_HELD), {"key": self._key}).first() is not None

    @contextlib.contextmanager
    def proposal_lock(self) -> Iterator[None]:
        """Held by one worker at a time, for the length of the block.

        Whoever loses the connection goes on without: two who propose at once know less, and harm nobody.
        """
        connection = None
        with contextlib.suppress(exc.DBAPIError):
            connection = self.engine.connect()
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._key ^ 1})
        try:
            yield
        finally:
            with contextlib.suppress(exc.DBAPIError):
                if connection is not None:
                    connection.close()

    def claim(self, tasks: Mapping[int, int], most: int, worker: str) -> list[tuple[int, int]]:
        """See `rnnlab.sweep.store.retrying.Claims`."""
        values = {"studies": list(tasks), "tasks": list(tasks.values()), "most": most, "worker": json.dumps(worker)}
        values["now"] = datetime.now()
        with self.engine.begin() as connection:
            # One at a time: of two at once, the second would wait for the rows of the first and find them taken.
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": self._key ^ 2})
            return [(row.study_id, row.trial_id) for row in connection.execute(sa.text(_CLAIM), values)]

    def count_waiting(self, studies: Sequence[int]) -> int:
        """See `rnnlab.sweep.store.retrying.Claims`."""
        query = "SELECT count(*) FROM trials WHERE state = 'WAITING' AND study_id = ANY(:studies)"
        with self.engine.connect() as connection:
            return connection.execute(sa.text(query), {"studies": list(studies)}).scalar_one()

    def get_trial(self, trial_id: int) -> FrozenTrial | None:
        """See `rnnlab.sweep.store.retrying.Claims`."""
        with self.engine.connect() as connection:
            return read_trial(connection, trial_id)

    def beat(self, trial_id: int) -> bool:
        """Give a sign of life.

        Returns:
            False where the trial is not running any more: somebody took it for lost.
        """
        with self.engine.begin() as connection:
            return connection.execute(sa.text(_BEAT), {"trial": trial_id}).first() is not None

    def pulses(self) -> Mapping[int, Pulse]:
        """The last sign of life of every running trial, by trial id."""
        with self.engine.connect() as connection:
            return {
                row.trial_id: Pulse(row.worker, row.heartbeat, row.age) for row in connection.execute(sa.text(_PULSES))
            }

    @property
    def _text(self) -> str:
        return self._url.render_as_string(hide_password=False)

    def _options(self, **options: Any) -> dict[str, Any]:
        # A machine that lost its power says no goodbye: the server has to find out, or it would keep its locks.
        keepalive = "-ctcp_keepalives_idle=30 -ctcp_keepalives_interval=10 -ctcp_keepalives_count=3"
        settings = {"connect_timeout": CONNECT_SECONDS, "application_name": "rnnlab"}
        session = f'-csearch_path="{self.schema}" -ctimezone=UTC {keepalive}'
        return {**options, "connect_args": {**settings, "options": session}}

    def _engine(self, **options: Any) -> sa.Engine:
        return sa.create_engine(self._url, **self._options(**options))

    def _explained(self) -> AbstractContextManager[None]:
        return explained(self._url)


class SweepLock:
    """A lock that the server drops together with the connection of its holder.

    Args:
        engine: makes the connection.
        key: number of the lock in the database.
    """

    def __init__(self, engine: sa.Engine, key: int) -> None:
        self._engine, self._key = engine, key
        self._connection: sa.Connection | None = None

    def acquire(self) -> bool:
        """Take the lock; False where somebody else holds it.

        Raises:
            UserError: if the server does not answer.
        """
        with explained(self._engine.url):
            return self._take()

    def keep(self) -> bool:
        """Make sure that the lock is still held, and take it again where its connection was lost.

        Returns:
            False where somebody else has taken it in the meantime. True while the server is away: nobody can.
        """
        try:
            if self._connection is not None:
                self._connection.execute(sa.text("SELECT 1"))
                return True
        except exc.DBAPIError:
            self.release()
        try:
            return self._take()
        except exc.DBAPIError:
            return True

    def release(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _take(self) -> bool:
        connection = self._engine.connect()
        if connection.execute(sa.text("SELECT pg_try_advisory_lock(:key)"), {"key": self._key}).scalar():
            self._connection = connection
        else:
            connection.close()
        return self._connection is not None
