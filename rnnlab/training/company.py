"""Slots that are worked on side by side: runs of one shape train together."""

from collections.abc import Callable, Generator

from rnnlab.config.shape import shape
from rnnlab.training.population import Population
from rnnlab.training.progress import Progress
from rnnlab.training.result import Result

Slot = Generator[Progress, Result, None]
"""Yields one run after the other, and is sent what came of it, or has thrown into it what it has raised."""


class Company:
    """Slots in hand, each at its own pace."""

    def __init__(self) -> None:
        self._populations: dict[str, Population] = {}
        self._slots: dict[Progress, Slot] = {}

    @property
    def size(self) -> int:
        """Slots in hand."""
        return len(self._slots)

    def take(self, slot: Slot) -> None:
        """Begin with a slot."""
        self._go_on(slot, lambda: next(slot))

    def advance(self) -> None:
        """Let every run make one update."""
        for population in list(self._populations.values()):
            population.advance()
        self._populations = {shape: each for shape, each in self._populations.items() if each.members}

    def _end(self, run: Progress, error: Exception | None) -> None:
        """Tell a slot what came of its run, and go on with the next one."""
        slot = self._slots.pop(run)
        try:
            if error is not None:
                raise error
            result = run.finish()
        except Exception as failed:
            self._fail(slot, failed)
        else:
            self._go_on(slot, lambda: slot.send(result))

    def _fail(self, slot: Slot, error: Exception) -> None:
        self._go_on(slot, lambda: slot.throw(error))

    def _go_on(self, slot: Slot, resume: Callable[[], Progress]) -> None:
        try:
            run = resume()
        except StopIteration:
            return
        self._slots[run] = slot
        try:
            self._populations.setdefault(shape(run.config), Population(self._end)).join(run)
        except Exception as error:
            del self._slots[run]
            self._fail(slot, error)


def complete(slot: Slot) -> None:
    """Work on one slot alone, to its end."""
    company = Company()
    company.take(slot)
    while company.size:
        company.advance()
