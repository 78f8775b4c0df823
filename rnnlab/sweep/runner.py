"""Runs a sweep from its definition to its last trial, from wherever an earlier start left it."""

import shlex
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from rnnlab.errors import UserError
from rnnlab.files import lacks_room, room_needed, write_whole
from rnnlab.seeding import make_generator
from rnnlab.sweep.budgets import budget_arguments
from rnnlab.sweep.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.dry_run import say_cost
from rnnlab.sweep.locks import FileLock
from rnnlab.sweep.numbers import count
from rnnlab.sweep.pool import WorkerPool, end_leftover_workers
from rnnlab.sweep.progress import make_display
from rnnlab.sweep.state import SweepState, read_state
from rnnlab.sweep.storage import open_storage
from rnnlab.sweep.supervisor import Supervisor
from rnnlab.sweep.trial import outbox
from rnnlab.tracking.store import prepare, tracking_uri


def run_sweep(
    path: str | Path,
    *,
    budget: str | None = None,
    workers: int | None = None,
    root: str | Path = "runs",
    console: Console | None = None,
) -> SweepState:
    """Run a sweep, or go on with it.

    Args:
        path: its YAML definition.
        budget: one of the budgets it declares; its own fields as they are if none.
        workers: number of worker processes; the definition's by default.
        root: folder that holds `sweeps/<name>`, the state from which a sweep goes on.
        console: where progress is shown; standard output by default.

    Returns:
        The state at the end; `exit_code` is 0, 130 after Ctrl-C, or 4 where MLflow has not taken every run.

    Raises:
        UserError: if the definition is wrong or differs from that of the sweep in progress, another process runs
            the sweep, the journal is unreadable, the tracking store cannot be used, or the disk is full.
    """
    definition = load_sweep_definition(path, budget)
    for plan in definition.plan():  # missing data speak up once, before anything starts
        plan.config({}, definition.seed).task.sample(make_generator(0, "probe"), 1)
    if workers is not None and workers < 1:
        raise UserError(f"workers = {workers} is not allowed: choose at least 1")
    folder = Path(root).absolute() / "sweeps" / definition.name
    console = console or Console()
    command = shlex.join(["rnnlab", "sweep", *budget_arguments(path, budget)])
    with room_needed(folder, command), _owned(folder):
        _adopt(Path(path), budget, definition, folder)
        end_leftover_workers(folder)
        storage = open_storage(folder, repair=True)
        state = read_state(definition, storage)
        size = min(workers or definition.workers, max(1, state.all_slots.open))
        if not state.closed or outbox(folder).undelivered():
            if not state.started:
                say_cost(definition, size, console)
            uri = tracking_uri()
            with _signals() as caught, make_display(console, size) as display:
                display.say(f"{definition.name}: {_budget(definition)}, {count(size, 'worker')}")
                prepare(uri)
                supervisor = Supervisor(definition, folder, storage, uri, str(path), budget)
                state = supervisor.run(WorkerPool(folder, size), display, caught)
        _report(state, console, command)
        return state


@contextmanager
def _owned(folder: Path) -> Iterator[None]:
    """Hold the sweep's folder against a second parent."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        free = lock.acquire(wait=False)
    except OSError as error:
        if lacks_room(error):
            raise
        raise UserError(f"cannot use {folder}: {error.strerror}; start from a folder that can be written to") from None
    if not free:
        raise UserError(f"sweep '{folder.name}' is being run by another process: wait for it, or stop it first")
    try:
        yield
    finally:
        lock.release()


def _adopt(path: Path, budget: str | None, definition: SweepDefinition, folder: Path) -> None:
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
    # The file as it was written, with its comments; at a budget, what came of it.
    write_whole(kept, path.read_bytes() if budget is None else definition.to_yaml().encode())


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
    seeds = f" of {count(definition.search_seeds, 'seed')} each" if definition.search_seeds > 1 else ""
    runs = f"{count(search, 'search trial')}{seeds} and {count(final, 'final run')}"
    return f"{count(arms, 'arm')} on {count(tasks, 'task')}, {runs}"


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
    if state.undelivered:
        say(f"{state.undelivered} runs wait on disk, as MLflow does not take them; deliver them with: {command}")
        return
    say(f"see it with: rnnlab report {state.name}, or rnnlab ui")
