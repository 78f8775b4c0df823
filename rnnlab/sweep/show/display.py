"""Shows how far a sweep is: a live table in a terminal, plain lines elsewhere."""

import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from rnnlab.common.text import clock
from rnnlab.sweep.show.arms_table import arms_table, score
from rnnlab.sweep.store.state import SweepState

QUIET_SECONDS = 10.0
"""Shortest time between two plain lines about trials; phases are announced at once."""


class Display(Protocol):
    """What shows the state of a sweep while it runs."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, state: SweepState) -> None:
        """Show the newest state."""
        ...

    def say(self, text: str) -> None:
        """Print one line that stays."""
        ...


def make_display(console: Console, workers: int) -> Display:
    """The display that suits the console."""
    return LiveDisplay(console, workers) if console.is_terminal and not console.quiet else LineDisplay(console, workers)


class LiveDisplay:
    """A table that is redrawn in place whenever the state is read, and at no other time.

    Args:
        console: a terminal.
        workers: number of worker processes, for the time left.
    """

    def __init__(self, console: Console, workers: int) -> None:
        self.console, self.workers = console, workers
        self.began = time.monotonic()
        self.live = Live(console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        self.live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.live.stop()

    def show(self, state: SweepState) -> None:
        elapsed = time.monotonic() - self.began
        self.live.update(Group(arms_table(state), _summary(state, elapsed, self.workers)), refresh=True)

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


class LineDisplay:
    """Lines for a log file: when a phase of an arm is over, and the count now and then.

    Args:
        console: where to.
        workers: number of worker processes, for the time left.
    """

    def __init__(self, console: Console, workers: int) -> None:
        self.console, self.workers = console, workers
        self.began = time.monotonic()
        self.spoke = -QUIET_SECONDS
        self.words: dict[str, str] = {}
        self.settled = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def show(self, state: SweepState) -> None:
        for study in state.studies:
            word = study.word
            if word not in ("waiting", "searching") and self.words.get(study.plan.name) != word:
                self.words[study.plan.name] = word
                self.say(f"{study.plan.name}: {word}, best in search {score(study.best)}")
        elapsed, slots = time.monotonic() - self.began, state.all_slots
        settled = slots.planned - slots.open
        if settled != self.settled and (elapsed - self.spoke >= QUIET_SECONDS or not slots.open):
            self.settled, self.spoke = settled, elapsed
            self.say(_count_line(state, elapsed, self.workers))

    def say(self, text: str) -> None:
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _summary(state: SweepState, elapsed: float, workers: int) -> RenderableType:
    slots = state.all_slots
    line = Table.grid(padding=(0, 1, 0, 0))
    line.add_column(width=20)
    line.add_column(no_wrap=True)
    line.add_row(
        ProgressBar(total=slots.planned, completed=slots.planned - slots.open, width=20),
        _count_line(state, elapsed, workers),
    )
    return line


def _count_line(state: SweepState, elapsed: float, workers: int) -> str:
    slots = state.all_slots
    parts = [f"{slots.done}/{slots.planned} done"]
    if slots.failed:
        parts.append(f"{slots.failed} failed")
    if slots.running:
        parts.append(f"{' + '.join(map(str, state.populations)) or slots.running} training")
    parts.append(f"{clock(elapsed)} elapsed")
    left = state.seconds_left(workers)
    if slots.open:
        parts.append("time left unknown" if left is None else f"about {clock(left)} left")
    return ", ".join(parts)
