"""Truncated back-propagation: which passes back a sequence is cut into."""

from collections.abc import Iterator
from typing import NamedTuple, Self

from pydantic import Field, model_validator

from rnnlab.common.options import Options


class Truncation(Options):
    """Truncated back-propagation: every `stride` steps, the loss of those steps goes back `window` steps.

    Reference: Williams and Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training", BPTT(h; h').
    """

    window: int = Field(ge=1)
    """k₂: how far back each loss reaches."""
    stride: int | None = Field(default=None, ge=1)
    """k₁: steps between two passes back; none is `window`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stride is not None and self.stride > self.window:
            raise ValueError(
                f"stride = {self.stride} is longer than window = {self.window}, which would leave losses "
                "without gradient: choose a stride of at most the window"
            )
        return self


class Window(NamedTuple):
    """One pass back: the graph reaches from `start`, the loss covers [`loss_start`, `stop`)."""

    start: int
    loss_start: int
    stop: int


def windows(steps: int, truncation: Truncation | None) -> Iterator[Window]:
    """Cut a sequence into passes back.

    Args:
        steps: T.
        truncation: window k₂ and stride k₁; none is one pass over everything.

    Returns:
        Windows whose loss ranges tile [0, T) in order, each reaching at most k₂ steps back from its end.
    """
    if truncation is None:
        yield Window(0, 0, steps)
        return
    stride = truncation.stride or truncation.window
    for loss_start in range(0, steps, stride):
        stop = min(loss_start + stride, steps)
        yield Window(max(0, stop - truncation.window), loss_start, stop)
