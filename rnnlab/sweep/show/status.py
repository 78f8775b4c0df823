"""How a sweep stands, asked from outside: while it runs, after a kill, or when it is over."""

import contextlib
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console

from rnnlab.common.text import clock, count, listing
from rnnlab.sweep.plan.origin import Origin
from rnnlab.sweep.plan.outline import Outline
from rnnlab.sweep.show.arms_table import arms_table, score, study_word
from rnnlab.sweep.store.home import DEFINITION, OUTBOX, Home, find_home
from rnnlab.sweep.store.state import StudyState, SweepState, read_state
from rnnlab.tracking.undelivered import UNDELIVERED, undelivered

MOST_NAMES = 8
"""Workers that are named; the others are counted."""
INCOMPLETE = 3
"""Exit code of a sweep that stands still before its end."""


@dataclass(frozen=True)
class Status:
    """A sweep and the processes that work on it.

    Attributes:
        state: its slots. A trial left RUNNING by a worker that is dead counts as running in there.
        parent: whether the process that was started with `rnnlab sweep` is alive.
        workers: the workers that are alive, by process id; of a sweep in a database those that run a trial, by name.
        command: what starts it again.
        shared: whether workers may join from elsewhere, and so go on without a parent.
    """

    state: SweepState
    parent: bool
    workers: tuple[str, ...]
    command: str
    shared: bool = False

    @property
    def running(self) -> int:
        """Slots that somebody is really working on."""
        return self.state.all_slots.running if self.workers else 0

    @property
    def word(self) -> str:
        """How it stands.

        One of complete, running, stopped, undelivered (done, but MLflow has not taken every run), and for a sweep whose
        parent is gone unattended (workers that joined go on with what is waiting) or ending (those that the parent
        started save their checkpoints).
        """
        if self.state.closed and not self.state.undelivered:
            return "complete"
        left = "unattended" if self.shared else "ending"
        if self.parent or self.workers:
            return "running" if self.parent else left
        return "undelivered" if self.state.closed else "stopped"

    @property
    def exit_code(self) -> int:
        return {"complete": 0, "running": 0, "undelivered": UNDELIVERED}.get(self.word, INCOMPLETE)

    def as_dict(self) -> dict[str, Any]:
        """The status as primitives: the state's, with the runs and processes that are alive."""
        return {
            **self.state.as_dict(),
            "state": self.word,
            "running": self.running,
            "workers": list(self.workers),
            "command": self.command,
        }


def read_status(name: str, root: str | Path = "runs", storage: str | None = None) -> Status:
    """Look at a sweep without touching it.

    Args:
        name: its name.
        root: folder that holds `sweeps/<name>`.
        storage: URL of the PostgreSQL database that keeps its state, if one does.

    Raises:
        UserError: if there is no such sweep, or its state cannot be read.
    """
    home = find_home(root, name, storage)
    outline = home.outline()
    # Processes before slots: in the other order, a sweep that ends in between would look stopped.
    parent, workers = home.is_supervised(), home.workers()
    opened, waiting = home.open_to_read(), undelivered(home.folder / OUTBOX)
    state = replace(read_state(outline, opened), undelivered=waiting)
    return Status(state, parent, workers, _command(outline, home, opened), home.shared)


def print_status(status: Status, console: Console) -> None:
    """Print a table in a terminal, and plain lines elsewhere."""

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    say(headline(status))
    if status.workers:
        say(_workers(status))
    if console.is_terminal:
        console.print(arms_table(status.state, status.word == "stopped"))
    else:
        for study in status.state.studies:
            say(_line(study, status))
    for kind, lost in (("tried again", status.state.retries), ("failed", status.state.failures)):
        for line in by_reason(lost):
            say(f"{kind}: {line}")
    say(advice(status))


def _workers(status: Status) -> str:
    """How many are alive, and the first few by name."""
    names, kind = status.workers, "" if status.shared else "pid "
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    sizes = status.state.populations
    training = f", training {listing(list(map(str, sizes)))} runs side by side" if max(sizes, default=0) > 1 else ""
    return f"workers alive: {len(names)} ({kind}{', '.join(names[:MOST_NAMES])}{more}){training}"


def _command(outline: Outline, home: Home, storage: optuna.storages.BaseStorage) -> str:
    """The command that goes on: with the file the user named, or the copy kept if that one is gone or has changed."""
    arguments = [str(home.folder / DEFINITION)]
    first = outline.studies[0].study_name("search")
    if first in optuna.get_all_study_names(storage):
        with contextlib.suppress(KeyError):  # its supervisor has not noted any yet
            origin = Origin.noted(optuna.load_study(study_name=first, storage=storage).user_attrs)
            arguments = origin.arguments if origin.unchanged else arguments
    return f"{shlex.join(['rnnlab', 'sweep', *arguments])} {home.shown}".rstrip()


def headline(status: Status) -> str:
    """How a sweep stands, in one line."""
    slots = status.state.all_slots
    parts = [f"{slots.done} of {slots.planned} {status.state.unit} done"]
    parts += [f"{status.running} running"] * bool(status.running)
    parts += [f"{slots.failed} failed"] * bool(slots.failed)
    parts += [f"{status.state.undelivered} not in MLflow yet"] * bool(status.state.undelivered)
    left = status.state.seconds_left(len(status.workers)) if status.workers else None
    parts += [f"about {clock(left)} left"] if left and status.parent else []
    return f"{status.state.name}: {status.word}, {', '.join(parts)}"


def _line(study: StudyState, status: Status) -> str:
    search, final, word = study.search, study.final, study_word(study.word, status.word == "stopped")
    running = study.all_slots.running if status.workers else 0
    return (
        f"{study.plan.name}: {word}, search {search.done}/{search.planned}, "
        f"final {final.done}/{final.planned}, running {running}, failed {study.all_slots.failed}, "
        f"best in search {score(study.best)}"
    )


def by_reason(lost: list[str]) -> list[str]:
    """Every reason once, with the first slot that it ended."""
    slots: dict[str, list[str]] = {}
    for line in lost:
        slot, _, reason = line.partition(": ")
        slots.setdefault(reason, []).append(slot)
    more = {reason: f" and {len(names) - 1} more" if len(names) > 1 else "" for reason, names in slots.items()}
    return [f"{names[0]}{more[reason]}: {reason}" for reason, names in slots.items()]


def advice(status: Status) -> str:
    """What to do next."""
    name, waiting = status.state.name, status.state.undelivered
    return {
        "complete": f"see it with: rnnlab report {name}, or rnnlab ui",
        "running": f"look again with: rnnlab status {name}",
        "ending": f"its parent is gone and its workers are about to end; go on with: {status.command}",
        "unattended": f"its workers go on with what is waiting, but nobody plans what comes next: {status.command}",
        "stopped": f"nobody works on it; go on with: {status.command}",
        "undelivered": f"every run is done; left on disk: {count(waiting, 'run')}; deliver with: {status.command}",
    }[status.word]
