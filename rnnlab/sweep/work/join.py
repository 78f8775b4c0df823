"""A worker that joins a running sweep from anywhere: it needs the sweep's name, the database and the MLflow server."""

import time
from pathlib import Path

from rnnlab.common.errors import UserError
from rnnlab.sweep.show.mlflow_page import check_store
from rnnlab.sweep.store.home import Home, find_home
from rnnlab.sweep.store.slots import worker_name
from rnnlab.sweep.store.state import SweepState, read_state
from rnnlab.sweep.work.worker import Worker, obey_signals
from rnnlab.tracking.store import tracking_uri

ALONE_SECONDS = 60.0
"""A worker leaves where nothing has been waiting for this long and no supervisor is there to enqueue more."""
LOOK_SECONDS = 5.0
"""Between two looks, of a worker without work, at how the sweep stands."""


def join_sweep(name: str, storage: str | None, root: str | Path = "runs") -> SweepState:
    """Run slots of a sweep until it is complete, nobody is left to enqueue any, or a signal comes.

    Args:
        name: of the sweep.
        storage: URL of its PostgreSQL database.
        root: folder that holds `sweeps/<name>`, for checkpoints; another worker can take them up if it is shared.

    Returns:
        The state at the end.

    Raises:
        UserError: if there is no such sweep, or the tracking store is not the one it uses.
    """
    if not storage:
        raise UserError(
            "a worker joins by --storage, the URL of the sweep's database: name it there or in RNNLAB_STORAGE"
        )
    home, uri = find_home(Path(root).absolute(), name, storage), tracking_uri()
    worker = Worker(home, uri, notice=lambda slot: print(slot, flush=True))
    worker.finished = _TimeToLeave(worker, home)
    obey_signals(worker)
    print(f"{worker_name()} works on sweep '{name}', {home.shown}", flush=True)
    check_store(uri, name, worker.known_studies())
    worker.work()
    state = read_state(worker.definition.outline, worker.storage)
    slots = state.all_slots
    print(f"{worker_name()} leaves: {slots.done} of {slots.planned} runs done", flush=True)
    return state


class _TimeToLeave:
    """Says when a worker without work should leave."""

    def __init__(self, worker: Worker, home: Home) -> None:
        self.worker, self.home = worker, home
        self.asked = self.looked = self.company = -float("inf")

    def __call__(self) -> bool:
        now = time.monotonic()
        if now - self.asked > LOOK_SECONDS:  # it has worked in between
            self.company = now
        self.asked = now
        if now - self.looked < LOOK_SECONDS:
            return False
        self.looked = now
        self.worker.look_again()
        if read_state(self.worker.definition.outline, self.worker.storage).complete:
            return True
        if self.home.is_supervised():
            self.company = now
        return now - self.company > ALONE_SECONDS
