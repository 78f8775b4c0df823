"""Parity: is the number of ones read so far odd?"""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register


@register
class Parity(Task):
    """Independent fair bits, read as ±1; two classes: an even or an odd number of +1.

    Every bit matters and a single one that is missed turns the answer round, so that no part of it is learnt before
    the whole: with the answer due at the last step alone, long sequences are hard for every network. An answer at
    every step gives the short prefixes to begin with.

    Reference: Bengio et al. 1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult", the parity
    problem among its experiments.
    """

    kind: Literal["parity"] = "parity"
    length: int = Field(default=20, ge=1, le=10_000)
    every_step: bool = False
    """Answer the parity so far at every step rather than once at the last."""

    solved_at: ClassVar[float] = 0.99

    @property
    def answers(self) -> Answers:
        return "every" if self.every_step else "last"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return 1

    @property
    def output_size(self) -> int:
        return 2

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 2, self.length - 1}))

    @property
    def baseline(self) -> Baseline:
        return Baseline(math.log(2), 0.5, "guessing: ln 2, one half right")

    @property
    def variant(self) -> str:
        return f"independent fair bits, answer at {'every' if self.every_step else 'the last'} step"

    @property
    def label(self) -> str:
        return f"running_{super().label}" if self.every_step else super().label

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        bits = torch.randint(0, 2, (self.length, batch_size), generator=generator)
        parity = bits.cumsum(0) % 2  # (T, B)
        return Batch((2.0 * bits - 1).unsqueeze(-1), parity if self.every_step else parity[-1:])
