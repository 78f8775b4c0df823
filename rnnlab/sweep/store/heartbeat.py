"""Signs of life: a worker gives them while it runs a trial, and a supervisor takes back the trials of the silent.

Clocks of different machines are never compared, and a database that was away costs nobody a trial: silence is what a
supervisor itself has watched, for as long as it could look.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from optuna.trial import FrozenTrial
from sqlalchemy import exc

from rnnlab.sweep.store.optuna_private import trial_id
from rnnlab.sweep.store.postgres import Pulse

LossReason = Callable[[FrozenTrial], str | None]
"""Says of a running trial why it will never end, or None where it may."""
BEAT_SECONDS = 15.0
"""Between two signs of life of one trial."""
SILENT_SECONDS = 60.0
"""A trial whose worker gave none for this long is taken back."""


class Heartbeat:
    """Gives signs of life from a thread, for as long as the block lasts.

    Args:
        beat: gives one, and returns False where the trial has been taken away.

    Attributes:
        lost: whether it has; the worker must not go on then, for somebody else may run the slot.
    """

    def __init__(self, beat: Callable[[], bool]) -> None:
        self.lost = False
        self._beat = beat
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="heart", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    def _live(self) -> None:
        while not self.lost:
            with contextlib.suppress(exc.DBAPIError, exc.TimeoutError):  # away: nobody can take the trial either
                self.lost = not self._beat()
            if self._over.wait(BEAT_SECONDS):
                return


class SilenceDetector:
    """Watches which running trials have fallen silent.

    Args:
        pulses: reads the last sign of life of every running trial.
    """

    def __init__(self, pulses: Callable[[], Mapping[int, Pulse]]) -> None:
        self._pulses = pulses
        self._known: dict[int, tuple[Any, float]] = {}  # the last sign of life of a trial, and when it was first seen
        self._looked = -float("inf")

    def look(self) -> LossReason:
        """Look once.

        Returns:
            Says of a trial why it will never end, or None where it may.
        """
        pulses, now = self._pulses(), time.monotonic()
        if now - self._looked > SILENT_SECONDS / 2:  # what happened in the meantime, nobody knows: begin anew
            self._known = {}
        self._looked = now
        known = self._known
        self._known = {
            trial: known[trial] if trial in known and known[trial][0] == pulse.beat else (pulse.beat, now)
            for trial, pulse in pulses.items()
        }
        silent = {trial for trial, (_, since) in self._known.items() if now - since > SILENT_SECONDS}

        def lost(trial: FrozenTrial) -> str | None:
            if trial_id(trial) not in silent:
                return None
            worker = trial.user_attrs.get("worker", "which claimed it")
            return f"its worker {worker} gave no sign of life for {SILENT_SECONDS:g} s"

        return lost
