"""Optuna's storage over PostgreSQL that waits for a database that has gone away, instead of losing a trial to it."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol, runtime_checkable

from optuna.exceptions import StorageInternalError
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy import exc

from rnnlab.common.interrupts import Interrupted

RETRY_SECONDS = 0.5
"""Between two tries to reach the database."""
REMIND_SECONDS = 30.0
"""Between two lines in the log that say that it does not answer."""

log = logging.getLogger(__name__)


@runtime_checkable
class Claims(Protocol):
    """What a database does by itself, in one statement each, where Optuna would read every waiting trial first."""

    def claim(self, tasks: Mapping[int, int], most: int, worker: str) -> list[tuple[int, int]]:
        """Set the next waiting trials running and put a worker's name to them; their studies and numbers, in order.

        Args:
            tasks: the place of its task, by study.
            most: how many at most.
            worker: the name.
        """
        ...

    def count_waiting(self, studies: Sequence[int]) -> int:
        """How many trials of these studies wait."""
        ...

    def get_trial(self, trial_id: int) -> FrozenTrial | None:
        """A trial with all that belongs to it; None where there is none of this number."""
        ...


class RetryingBackend:
    """Optuna's storage over a database, each of whose methods is repeated until the database is back.

    An operation may have gone through although its answer was lost. To repeat it does no harm: a value is written
    again; a slot enqueued again is refused by its ticket; a trial told again says that it is finished; and a trial
    claimed again looks like another worker's, gives no sign of life, and is taken back.

    Args:
        backend: the storage without a cache.
        told_to_stop: asked while waiting; once true, waiting ends.
        claims: what the database does by itself.
    """

    def __init__(self, backend: RDBStorage, told_to_stop: Callable[[], bool], claims: Claims) -> None:
        self._backend, self._told_to_stop, self._claims = backend, told_to_stop, claims

    def claim(self, tasks: Mapping[int, int], most: int, worker: str) -> list[tuple[int, int]]:
        """See `Claims`."""
        return self._retry(self._claims.claim, tasks, most, worker)

    def count_waiting(self, studies: Sequence[int]) -> int:
        """See `Claims`."""
        return self._retry(self._claims.count_waiting, studies)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """A trial, read in one statement; Optuna has its own word for one that does not exist."""
        found = self._retry(self._claims.get_trial, trial_id)
        return self._retry(self._backend.get_trial, trial_id) if found is None else found

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._backend, name)
        return partial(self._retry, found) if callable(found) else found

    def _retry(self, call: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Call until the database answers.

        Raises:
            Interrupted: if it does not, and `told_to_stop` turned true.
        """
        reminded = -REMIND_SECONDS
        while True:
            try:
                return call(*arguments, **named)
            except (StorageInternalError, exc.DBAPIError) as error:
                if not is_outage(error):
                    raise
                if self._told_to_stop():
                    raise Interrupted("stopped while the database did not answer") from None
                if time.monotonic() - reminded >= REMIND_SECONDS:
                    log.warning("the database does not answer: waiting until it does")
                    reminded = time.monotonic()
                time.sleep(RETRY_SECONDS)


def is_outage(error: BaseException) -> bool:
    """Whether an operation failed because the database was not there, and not because of what was asked."""
    cause = error.__cause__ if isinstance(error, StorageInternalError) else error
    return isinstance(cause, exc.OperationalError | exc.InterfaceError)
