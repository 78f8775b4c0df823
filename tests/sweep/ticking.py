"""A clock that only training moves, for tests of how long things are expected to take."""

from rnnlab.sweep.show.forecast import Costs

TRUE = Costs(update=2.0, recorded=5.0, evaluation=7.0)


class Clock:
    """A clock that only training moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    thread_time = perf_counter
