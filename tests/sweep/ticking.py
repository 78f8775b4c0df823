"""A clock that only training moves, for tests of how long things are expected to take."""

UPDATE, EVALUATION = 2.0, 7.0
"""Seconds of an update and of an evaluation of the validation set on that clock."""


class Clock:
    """A clock that only training moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def thread_time(self) -> float:
        return self.now
