"""Copying memory: ten symbols, a long blank, then all ten again in order."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register

ITEMS = 10
BLANK, MARKER = 0, 9  # the symbols to recall are 1 to 8


@register
class Copying(Task):
    """Ten symbols of eight, `length` - 1 blanks, a marker, ten blanks; answer blank until the marker has been
    seen, then the ten symbols.

    The loss is the mean over all length + 20 steps. The score looks at the ten recalled symbols alone, and
    the task counts as solved when 99% of them are right (guessing: 1/8).

    Reference: Arjovsky et al. 2016, "Unitary Evolution Recurrent Neural Networks"; layout as in their code,
    where the first recalled symbol is due one step after the marker (scoRNN and expRNN: at the marker).
    """

    kind: Literal["copying"] = "copying"
    length: int = Field(default=100, ge=1, le=10_000)
    """The delay T of the papers: each symbol is recalled length + 10 steps after it was shown."""

    symbols: ClassVar[bool] = True
    solved_at: ClassVar[float] = 0.99

    @property
    def answers(self) -> Answers:
        return "every"

    @property
    def steps(self) -> int:
        return self.length + 2 * ITEMS

    @property
    def input_size(self) -> int:
        return 10

    @property
    def output_size(self) -> int:
        return 9

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 2, self.length + ITEMS, self.steps - 1}))

    @property
    def baseline(self) -> Baseline:
        return Baseline(
            ITEMS * math.log(8) / self.steps,
            1 / 8,
            "blank until the marker, then guessing among eight: 10 ln 8 / (length + 20), one eighth right",
        )

    @property
    def variant(self) -> str:
        return "10 items of 8 symbols, outputs start the step after the marker (uRNN), loss over all steps"

    @property
    def asked_length(self) -> int:
        return self.length

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        T, B = self.steps, batch_size
        items = torch.randint(1, 9, (ITEMS, B), generator=generator)
        inputs = torch.full((T, B), BLANK)
        inputs[:ITEMS] = items
        inputs[T - ITEMS - 1] = MARKER
        targets = torch.full((T, B), BLANK)
        targets[T - ITEMS :] = items
        return Batch(inputs, targets)

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return super().scores(outputs[-ITEMS:], targets[-ITEMS:])
