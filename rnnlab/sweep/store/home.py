"""Where a sweep keeps its state, and how its processes find each other: a folder, or a database with many machines."""

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import optuna
from sqlalchemy import exc

from rnnlab.common.errors import UserError, nearest
from rnnlab.common.files import lacks_room, write_whole
from rnnlab.common.locks import FileLock, is_held
from rnnlab.sweep.plan.growth import check_growth, grown
from rnnlab.sweep.plan.outline import Outline, is_name
from rnnlab.sweep.store.heartbeat import SILENT_SECONDS, Heartbeat, LossReason, SilenceDetector
from rnnlab.sweep.store.journal import open_storage
from rnnlab.sweep.store.postgres import Database
from rnnlab.sweep.store.retrying import is_outage
from rnnlab.sweep.store.slots import INTERRUPTED, unnamed_too_long

DEFINITION, OUTLINE = "sweep.yaml", "outline.json"
"""Names under which a home keeps what it was given."""
KEPT = "kept"
"""Attribute that holds both in a database."""
OUTBOX = "outbox"
"""Folder of the runs that wait for MLflow, inside the sweep's."""
START = "start one with `rnnlab sweep FILE`"


class Home(Protocol):
    """The state of one sweep.

    Attributes:
        folder: files of this machine: checkpoints, logs of workers, the definition as it was given.
        shared: whether workers of other machines may be at work on it.
        shown: what a command needs to find it again; empty for a folder.
    """

    folder: Path
    shared: bool
    shown: str

    def owned(self) -> AbstractContextManager[Callable[[], None]]:
        """Hold the sweep against a second supervisor; yields a check that it is still held."""
        ...

    def keep(self, definition: str, outline: Outline, source: str) -> None:
        """Keep the definition, given as YAML from a source, in the place of one that it has grown from, and note that.

        Raises:
            UserError: if it is another one, and would falsify what is there.
        """
        ...

    def definition(self) -> str:
        """The definition that was kept, as YAML."""
        ...

    def outline(self) -> Outline:
        """The outline of the definition that was kept."""
        ...

    def open(
        self, repair: bool = False, told_to_stop: Callable[[], bool] = lambda: False
    ) -> optuna.storages.BaseStorage:
        """Open Optuna's storage; `repair` is for the one that owns it, before any worker."""
        ...

    def open_to_read(self) -> optuna.storages.BaseStorage:
        """Open Optuna's storage for reading alone, where there may be none yet."""
        ...

    def orphans(self, alone: bool) -> LossReason:
        """Which running trials have lost their worker, given whether no worker of this machine is alive."""
        ...

    def heartbeat(self, trial_id: int) -> AbstractContextManager[Heartbeat | None]:
        """Gives signs of life for a trial, where somebody looks for them."""
        ...

    def proposal_lock(self) -> AbstractContextManager[object]:
        """Held by one worker at a time while it proposes a point, so that each knows what the others will try."""
        ...

    def is_supervised(self) -> bool:
        """Whether a supervisor is alive."""
        ...

    def workers(self) -> tuple[str, ...]:
        """Names of living workers: all of a folder's, and in a database those that run a trial."""
        ...


def find_home(root: str | Path, name: str, url: str | None) -> Home:
    """The home of a sweep.

    Args:
        root: folder that holds `sweeps/<name>`.
        name: of the sweep.
        url: of a PostgreSQL database, if the state is kept there.

    Raises:
        UserError: if the name is none, the URL is no URL, or the database's driver is missing.
    """
    sweeps = Path(root) / "sweeps"
    if not is_name(name):  # a path to somewhere else
        raise _unknown(name, str(sweeps), _kept(sweeps))
    return DatabaseHome(sweeps / name, url) if url else FolderHome(sweeps / name)


class FolderHome:
    """A journal in the sweep's folder, for workers that one parent starts on its own machine."""

    shared = False
    shown = ""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @contextlib.contextmanager
    def owned(self) -> Iterator[Callable[[], None]]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.folder / "lock")
            free = lock.acquire(wait=False)
        except OSError as error:
            if lacks_room(error):
                raise
            raise UserError(
                f"cannot use {self.folder}: {error.strerror}; start from a folder that can be written to"
            ) from None
        if not free:
            raise _taken(self.folder.name)
        try:
            yield lambda: None
        finally:
            lock.release()

    def keep(self, definition: str, outline: Outline, source: str) -> None:
        if (self.folder / OUTLINE).exists():
            kept = self.outline()
            check_growth(kept, outline, source, f"delete {self.folder}", lambda: _retrained(kept, self.open_to_read()))
            outline = grown(kept, outline)
        elif (self.folder / "journal.log").exists():
            raise UserError(
                f"{self.folder} holds a journal without its {OUTLINE}: delete the folder, or choose another name"
            )
        write_whole(self.folder / DEFINITION, definition.encode())
        write_whole(self.folder / OUTLINE, outline.to_json().encode())  # last: it makes the sweep known

    def definition(self) -> str:
        return self._read(DEFINITION)

    def outline(self) -> Outline:
        return Outline.from_json(self._read(OUTLINE))

    def _read(self, name: str) -> str:
        known = _kept(self.folder.parent)
        if self.folder.name not in known:
            raise _unknown(self.folder.name, str(self.folder.parent), known)
        return (self.folder / name).read_text(encoding="utf-8")

    def open(
        self, repair: bool = False, told_to_stop: Callable[[], bool] = lambda: False
    ) -> optuna.storages.BaseStorage:
        return open_storage(self.folder, repair)

    def open_to_read(self) -> optuna.storages.BaseStorage:
        exists = (self.folder / "journal.log").exists()  # opening a journal would make it
        return open_storage(self.folder) if exists else optuna.storages.InMemoryStorage()

    def orphans(self, alone: bool) -> LossReason:
        return lambda trial: INTERRUPTED if alone or unnamed_too_long(trial) else None

    def heartbeat(self, trial_id: int) -> AbstractContextManager[Heartbeat | None]:
        return contextlib.nullcontext()

    def proposal_lock(self) -> AbstractContextManager[object]:
        return FileLock(self.folder / "proposing.lock")

    def is_supervised(self) -> bool:
        return is_held(self.folder / "lock")

    def workers(self) -> tuple[str, ...]:
        """Process ids; a worker that has just taken its lock may not have written its own yet."""
        held = [path for path in sorted((self.folder / "workers").glob("*.lock")) if is_held(path)]
        return tuple(pid for pid in (path.read_text().strip() for path in held) if pid.isdigit())


class DatabaseHome:
    """A PostgreSQL database, which workers join from anywhere."""

    shared = True

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.database = Database(url, folder.name)
        self.shown = f"--storage {self.database.shown}"
        self._silence = SilenceDetector(self.database.pulses)

    @contextlib.contextmanager
    def owned(self) -> Iterator[Callable[[], None]]:
        lock = self.database.lock()
        with FolderHome(self.folder).owned():  # two sweeps of one name would share logs and checkpoints
            if not lock.acquire():
                raise _taken(self.folder.name)

            def check() -> None:
                if not lock.keep():
                    raise _taken(self.folder.name)

            try:
                yield check
            finally:
                lock.release()

    def keep(self, definition: str, outline: Outline, source: str) -> None:
        self.database.create()
        storage = self.database.open()
        # A study without trials, under a name that no arm can have, holds what belongs to the whole sweep.
        study = optuna.create_study(study_name=self.folder.name, storage=storage, load_if_exists=True)
        if KEPT in study.user_attrs:
            kept, mend = self.outline(), f'drop the schema "{self.database.schema}" of the database'
            check_growth(kept, outline, source, mend, lambda: _retrained(kept, storage))
            outline = grown(kept, outline)
        # One value, and so one transaction: whoever joins reads both of one start.
        study.set_user_attr(KEPT, {DEFINITION: definition, OUTLINE: outline.to_json()})
        write_whole(self.folder / DEFINITION, definition.encode())

    def definition(self) -> str:
        return self._read(DEFINITION)

    def outline(self) -> Outline:
        return Outline.from_json(self._read(OUTLINE))

    def _read(self, name: str) -> str:
        sweep, known = self.folder.name, self.database.known()
        if sweep not in known:
            raise _unknown(sweep, self.database.shown, known)
        return self.database.note(sweep, KEPT)[name]

    def open(
        self, repair: bool = False, told_to_stop: Callable[[], bool] = lambda: False
    ) -> optuna.storages.BaseStorage:
        return self.database.open(told_to_stop)

    def open_to_read(self) -> optuna.storages.BaseStorage:
        return self.database.open()

    def orphans(self, alone: bool) -> LossReason:
        try:
            return self._silence.look()
        except exc.DBAPIError as error:
            if not is_outage(error):
                raise
            return lambda trial: None  # nothing is seen while the database is away

    def heartbeat(self, trial_id: int) -> AbstractContextManager[Heartbeat | None]:
        return Heartbeat(lambda: self.database.beat(trial_id))

    def proposal_lock(self) -> AbstractContextManager[object]:
        return self.database.proposal_lock()

    def is_supervised(self) -> bool:
        return self.database.is_supervised()

    def workers(self) -> tuple[str, ...]:
        fresh = [pulse for pulse in self.database.pulses().values() if (pulse.age or 0.0) < SILENT_SECONDS]
        return tuple(sorted(pulse.worker for pulse in fresh if pulse.worker))


def _kept(sweeps: Path) -> list[str]:
    """Names of the sweeps of this machine."""
    return [path.parent.name for path in sweeps.glob(f"*/{OUTLINE}")]


def _taken(name: str) -> UserError:
    return UserError(f"sweep '{name}' is being run by another process: wait for it, or stop it first")


def _retrained(outline: Outline, storage: optuna.storages.BaseStorage) -> bool:
    """Whether final runs of any study are planned; only the owner of the sweep plans some."""
    known = set(optuna.get_all_study_names(storage))
    finals = known & {key.study_name("final") for key in outline.studies}
    return any(optuna.load_study(study_name=name, storage=storage).get_trials(deepcopy=False) for name in finals)


def _unknown(name: str, where: str, known: list[str]) -> UserError:
    advice = nearest(Path(name).stem, known) if known else START
    return UserError(f"there is no sweep '{name}' in {where}: {advice}")
