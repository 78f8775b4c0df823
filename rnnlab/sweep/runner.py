"""Runs a sweep from its definition to its last trial, from wherever an earlier start left it."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rich.console import Console

from rnnlab.common.errors import UserError
from rnnlab.common.files import room_needed
from rnnlab.common.interrupts import Interrupted, signals_caught
from rnnlab.common.machine import usable_cores
from rnnlab.common.seeding import make_generator
from rnnlab.common.shipped import locate
from rnnlab.common.text import count
from rnnlab.sweep.plan.definition import SweepDefinition, load_sweep_definition
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.plan.outline import Planning
from rnnlab.sweep.show.display import make_display
from rnnlab.sweep.show.dry_run import say_cost
from rnnlab.sweep.store.database_url import parse_url
from rnnlab.sweep.store.home import Home, find_home
from rnnlab.sweep.store.state import SweepState, read_state
from rnnlab.sweep.work.pool import Pool, WorkerPool, end_leftover_workers
from rnnlab.sweep.work.supervisor import Supervisor
from rnnlab.sweep.work.trial import outbox
from rnnlab.tracking.provenance import git_commit
from rnnlab.tracking.store import check_kind, option, prepare_store, tracking_uri

Engine = Literal["local", "ray"]
WORKERS_PER_CORE = 16
"""Each worker holds torch in memory and wants a core of its own, so that more than this is a slip."""


def run_sweep(
    path: str | Path,
    *,
    budget: str | None = None,
    imports: Sequence[str] = (),
    workers: int | None = None,
    root: str | Path = "runs",
    console: Console | None = None,
    storage: str | None = None,
    engine: Engine = "local",
    address: str | None = None,
    gpus_per_worker: float = 0.0,
) -> SweepState:
    """Run a sweep, or go on with it.

    Args:
        path: its YAML definition.
        budget: one of the budgets it declares; its own fields as they are if none.
        imports: Python files that register what it uses, besides those that it names.
        workers: number of worker processes; the definition's by default, and none where only those work that join.
        root: folder that holds `sweeps/<name>`, the state from which a sweep goes on.
        console: where progress is shown; standard output by default.
        storage: URL of a PostgreSQL database that keeps the state instead, for workers on other machines.
        engine: who starts the workers: this process, or a Ray cluster.
        address: of the Ray cluster, as host:port.
        gpus_per_worker: what Ray reserves for each worker.

    Returns:
        The state at the end; `exit_code` is 0, 130 after Ctrl-C, or 4 where MLflow has not taken every run.

    Raises:
        UserError: if the definition is wrong or differs from that of the sweep in progress, another process runs
            the sweep, the journal is unreadable, the tracking store cannot be used, or the disk is full.
    """
    definition, origin = load_sweep_definition(path, budget, imports), Origin.of(path, budget, imports)
    for plan in definition.studies:  # missing data speak up once, before anything starts
        plan.config({}, definition.seed).task.sample(make_generator(0, "probe"), 1)
    check_options(definition, workers, storage, engine, address, gpus_per_worker)
    wanted = Workers(definition.workers if workers is None else workers, storage, engine, address, gpus_per_worker)
    home = find_home(Path(root).absolute(), definition.name, storage)
    console = console or Console()
    again = shlex.join(["rnnlab", "sweep", *origin.arguments])
    command = " ".join(filter(None, [again, home.shown, option(tracking_uri())]))
    with room_needed(home.folder, command), home.owned() as still_owned:
        # The file as it was written, with its comments; at a budget or with imports, what came of it.
        written = budget is None and not definition.imports
        text = locate(path).read_text(encoding="utf-8") if written else definition.to_yaml()
        now = Planning(f"{datetime.now(UTC):%Y-%m-%d %H:%M}", git_commit())
        home.keep(text, replace(definition.outline, history=(now,)), origin.source)
        end_leftover_workers(home.folder)
        state = _see_through(definition, origin, home, wanted, console, still_owned)
        _report(state, console, command)
        return state


@dataclass(frozen=True)
class Workers:
    """Who works on a sweep; see `run_sweep`."""

    count: int
    storage: str | None
    engine: Engine
    address: str | None
    gpus: float

    def pool(self, home: Home, size: int, uri: str) -> Pool:
        """What starts this many of them."""
        if self.engine == "local" or self.storage is None or self.address is None:
            return WorkerPool(home.folder, size, uri, self.storage)
        from rnnlab.sweep.work.ray_pool import RayPool  # late: Ray is an extra, and takes a second to import

        return RayPool(home.folder, size, uri, self.storage, self.address, self.gpus)


def _see_through(
    definition: SweepDefinition,
    origin: Origin,
    home: Home,
    workers: Workers,
    console: Console,
    still_owned: Callable[[], None],
) -> SweepState:
    """Do what is left of a sweep, if anything is."""
    with signals_caught() as caught:
        opened = home.open(repair=True, told_to_stop=lambda: bool(caught))
        state = read_state(definition.outline, opened)
        if state.closed and not outbox(home.folder).undelivered():
            return state
        size = min(workers.count, max(1, state.all_slots.open))
        if not state.started and not console.quiet:
            say_cost(definition, max(1, size), console)
        uri = tracking_uri()
        prepare_store(uri)
        with make_display(console, max(1, size)) as display:
            display.say(f"{definition.name}: {_budget(definition)}, {count(size, 'worker')}")
            try:
                supervisor = Supervisor(definition, home, opened, uri, origin)
                supervisor.open_studies()
                return supervisor.run(workers.pool(home, size, uri), display, caught, still_owned)
            except Interrupted as interruption:
                raise UserError(f"{interruption}: start the sweep again once it does") from None


def check_options(
    definition: SweepDefinition,
    workers: int | None,
    storage: str | None,
    engine: Engine,
    address: str | None,
    gpus_per_worker: float,
) -> None:
    """Refuse options of a start that do not go together, before anything is done; see `run_sweep`.

    Raises:
        UserError: in one sentence.
    """
    check_kind(tracking_uri())
    if storage is not None:
        parse_url(storage)
    size, most = definition.workers if workers is None else workers, max(64, WORKERS_PER_CORE * usable_cores())
    if engine == "local" and size > most:
        raise UserError(
            f"workers = {size} is not allowed: choose at most {most} on a machine of {count(usable_cores(), 'core')}"
        )
    if workers is not None and workers < (0 if storage else 1):
        hint = "" if storage else "; 0 is for workers that join by themselves, and needs --storage"
        raise UserError(f"workers = {workers} is not allowed: choose at least {0 if storage else 1}{hint}")
    if engine == "local" and (address or gpus_per_worker):
        option = "--address" if address else "--gpus-per-worker"
        raise UserError(f"{option} is for a Ray cluster: add --engine ray, or leave it out")
    if engine == "ray" and not (storage and address):
        missing, example = ("--address", "127.0.0.1:6379") if storage else ("--storage", "postgresql+psycopg://...")
        raise UserError(f"--engine ray needs {missing}, such as {example}: workers on other machines meet there")


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
        waiting = count(state.undelivered, "run")
        say(f"left on disk, as MLflow does not take everything: {waiting}; deliver with: {command}")
        return
