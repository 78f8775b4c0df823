"""Runs a sweep from its definition to its last trial, from wherever an earlier start left it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from rnnlab.errors import UserError
from rnnlab.seeding import make_generator
from rnnlab.sweep.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.locks import FileLock
from rnnlab.sweep.pool import WorkerPool, end_leftover_workers
from rnnlab.sweep.progress import make_display
from rnnlab.sweep.state import SweepState, read_state
from rnnlab.sweep.storage import open_storage
from rnnlab.sweep.supervisor import Supervisor
from rnnlab.tracking.store import prepare, tracking_uri


def run_sweep(
    path: str | Path,
    *,
    workers: int | None = None,
    root: str | Path = "runs",
    console: Console | None = None,
) -> SweepState:
    """Run a sweep, or go on with it.

    Args:
        path: its YAML definition.
        workers: number of worker processes; the definition's by default.
        root: folder that holds `sweeps/<name>`, the state from which a sweep goes on.
        console: where progress is shown; standard output by default.

    Returns:
        The state at the end; `exit_code` is 0, or 130 after Ctrl-C.

    Raises:
        UserError: if the definition is wrong or differs from that of the sweep in progress, another process runs
            the sweep, the journal is unreadable, or the tracking store cannot be used.
    """
    definition = load_sweep_definition(path)
    for plan in definition.plan():  # missing data speak up once, before anything starts
        plan.config({}, definition.seed).task.sample(make_generator(0, "probe"), 1)
    if workers is not None and workers < 1:
        raise UserError(f"workers = {workers} is not allowed: choose at least 1")
    folder = Path(root).absolute() / "sweeps" / definition.name
    console = console or Console()
    with _owned(folder):
        _adopt(Path(path), definition, folder)
        end_leftover_workers(folder)
        storage = open_storage(folder, repair=True)
        state = read_state(definition, storage)
        size = min(workers or definition.workers, max(1, state.all_slots.open))
        if not state.closed:
            uri = tracking_uri()
            with _signals() as caught, make_display(console, size) as display:
                display.say(f"{definition.name}: {_budget(definition)}, {size} workers")
                prepare(uri)
                supervisor = Supervisor(definition, folder, storage, uri, str(path))
                state = supervisor.run(WorkerPool(folder, size, uri), display, caught)
        _report(state, console, f"rnnlab sweep {path}")
        return state


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Hold the sweep's folder against a second parent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        free = lock.acquire(wait=False)
    except OSError as error:
        raise UserError(f"cannot use {folder}: {error.strerror}; start from a folder that can be written to") from None
    if not free:
        raise UserError(f"sweep '{folder.name}' is being run by another process: wait for it, or stop it first")
    try:
        yield
    finally:
        lock.release()


def _adopt(path: Path, definition: SweepDefinition, folder: Path) -> None:
    """Keep the definition beside the journal, and refuse to go on with a different one."""
    kept = folder / "sweep.yaml"
    if kept.exists():
        if load_sweep_definition(kept).hash != definition.hash:
            raise UserError(
                f"{path} has changed since sweep '{definition.name}' was started: choose another name for it, or "
                f"delete {folder} to start anew"
            )
        return
    if (folder / "journal.log").exists():
        raise UserError(f"{folder} holds a journal without its sweep.yaml: delete the folder, or choose another name")
    partial = kept.with_suffix(".partial")
    partial.write_bytes(path.read_bytes())
    partial.replace(kept)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM instead of dying of them; outside the main thread nothing can be caught."""
    caught: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        caught.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _budget(definition: SweepDefinition) -> str:
    tasks, arms = len(definition.tasks), len(definition.arms)
    search, final = (tasks * arms * each for each in (definition.search_trials, definition.seeds))
    seeds = f" of {definition.search_seeds} seeds each" if definition.search_seeds > 1 else ""
    return f"{arms} arms on {tasks} task{'s' * (tasks > 1)}, {search} search trials{seeds} and {final} final runs"


def _report(state: SweepState, console: Console, command: str) -> None:
    slots = state.all_slots

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    for failure in state.failures:
        say(f"failed: {failure}")
    if not state.complete:
        say(f"stopped with {slots.done} of {slots.planned} {state.unit} done; go on with: {command}")
        return
    failed = f", {slots.failed} failed" if slots.failed else ""
    say(f"sweep '{state.name}' is complete: {slots.done} {state.unit} done{failed}")
    say(f"see it with: rnnlab report {state.name}, or rnnlab ui")
