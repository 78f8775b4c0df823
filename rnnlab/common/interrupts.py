"""Stopping on request, with nothing lost."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Interrupted(Exception):
    """The run was asked to stop; its checkpoint is saved."""


@contextmanager
def signals_caught(second_kills: bool = False) -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and a closed terminal's SIGHUP instead of dying of them, unless they are ignored.

    Outside the main thread nothing can be caught.

    Args:
        second_kills: whether a second one ends the process at once.
    """
    received: list[int] = []

    def note(number: int, _: Any) -> None:
        if received and second_kills:
            os._exit(130)
        received.append(number)

    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    stops = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    heard = [number for number in stops if signal.getsignal(number) != signal.SIG_IGN]  # by nohup, for one
    before = {number: signal.signal(number, note) for number in heard}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
