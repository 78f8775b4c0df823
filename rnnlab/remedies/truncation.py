"""Truncated back-propagation: which passes back a sequence is cut into."""

from collections.abc import Sequence
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from rnnlab.remedies.base import Remedy, Window
from rnnlab.remedies.registry import register


@register
class Truncation(Remedy):
    """Truncated back-propagation: every `stride` steps, the loss of those steps goes back `window` steps.

    Reference: Williams and Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training", BPTT(h; h').
    """

    kind: Literal["truncation"] = "truncation"
    window: int = Field(ge=1)
    """k₂: how far back each loss reaches."""
    stride: int | None = Field(default=None, ge=1)
    """k₁: steps between two passes back; none is `window`."""

    @model_validator(mode="after")
    def _check_stride(self) -> Self:
        if self.stride is not None and self.stride > self.window:
            raise ValueError(
                f"stride = {self.stride} is longer than window = {self.window}, which would leave losses "
                "without gradient: choose a stride of at most the window"
            )
        return self

    def check(self, config: Any) -> None:
        task = config.task
        if self.window > task.steps:
            raise ValueError(
                f"remedies.truncation.window = {self.window} is longer than the sequence: choose at most "
                f"{task.steps}, the number of steps of {task.label}"
            )

    def cut(self, windows: Sequence[Window]) -> Sequence[Window]:
        """Windows that each reach at most k₂ steps back from their end, k₁ steps of loss each."""
        found, stride = [], self.stride or self.window
        for window in windows:
            for first in range(window.loss_start, window.stop, stride):
                stop = min(first + stride, window.stop)
                found.append(Window(max(window.start, stop - self.window), first, stop))
        return found
