"""Temporal order: two or three symbols far apart among distractors, answer which came in which order."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from rnnlab.tasks.base import Baseline, Batch, Task
from rnnlab.tasks.registry import register

WINDOWS = {2: (1, 5), 3: (1, 3, 6)}
"""Where each relevant symbol may stand: the start of its window in tenths of the length, one tenth long."""


@register
class TemporalOrder(Task):
    """A or B (symbols 0, 1) once in each window, four distractors (2 to 5) elsewhere; at the last step,
    answer which of the four (two symbols) or eight (three) orders it was.

    The class reads the symbols as binary digits, the earliest first: AA, AB, BA, BB are 0 to 3. The task
    counts as solved with at most 1% of the sequences wrong.

    Reference: Pascanu et al. 2013, section 4.1 (`bits` = 2); Hochreiter and Schmidhuber 1997, section 5.6,
    experiments 6a and 6b, whose sequences also have a start and an end symbol and vary in length.
    """

    kind: Literal["temporal_order"] = "temporal_order"
    length: int = Field(default=100, ge=10, le=10_000)
    bits: Literal[2, 3] = 2
    """How many of the symbols matter."""

    symbols: ClassVar[bool] = True
    solved_at: ClassVar[float] = 0.99

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return 6

    @property
    def output_size(self) -> int:
        return 2**self.bits

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """First step and end (not included) of the window of each relevant symbol."""
        return tuple((self.length * w // 10, self.length * (w + 1) // 10) for w in WINDOWS[self.bits])

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted(self.length - 1 - start for start, _ in self.windows))

    @property
    def baseline(self) -> Baseline:
        classes = self.output_size
        return Baseline(math.log(classes), 1 / classes, f"guessing: ln {classes}, one in {classes} right")

    @property
    def variant(self) -> str:
        places = ", ".join(f"[.{w}L, .{w + 1}L)" for w in WINDOWS[self.bits])
        return f"6 symbols, A or B once in each of {places}, {self.output_size} classes at the last step"

    @property
    def label(self) -> str:
        return super().label if self.bits == 2 else f"{self.kind}_{self.bits}bit-{self.length}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        T, B = self.length, batch_size
        inputs = torch.randint(2, 6, (T, B), generator=generator)
        relevant = torch.randint(0, 2, (self.bits, B), generator=generator)
        at = [torch.randint(start, end, (B,), generator=generator) for start, end in self.windows]
        inputs.scatter_(0, torch.stack(at), relevant)
        place_values = 2 ** torch.arange(self.bits - 1, -1, -1)
        return Batch(inputs, (relevant * place_values[:, None]).sum(0, keepdim=True))  # (1, B)
