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
    """Collect SIGINT and SIGTERM instead of dying of them; outside the main thread nothing can be caught.

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
    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
