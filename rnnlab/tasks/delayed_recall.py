"""Delayed recall: one bit at the first step, noise after it, answer the bit at the end."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from rnnlab.tasks.base import Baseline, Batch, Task
from rnnlab.tasks.registry import register


@register
class DelayedRecall(Task):
    """Input ±1 at t = 0 and Gaussian noise of standard deviation `noise` at every later step; two classes.

    Reference: Bengio et al. 1994, "Learning Long-Term Dependencies with Gradient Descent is Difficult",
    section 2 (the latching problem, here with the bit in the first step alone).
    """

    kind: Literal["delayed_recall"] = "delayed_recall"
    length: int = Field(default=100, ge=2, le=10_000)
    noise: float = Field(default=0.2, ge=0)

    solved_at: ClassVar[float] = 0.99

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
        return f"bit at the first step, then Gaussian noise of standard deviation {self.noise:g}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        T, B = self.length, batch_size
        bits = torch.randint(0, 2, (1, B), generator=generator)
        inputs = self.noise * torch.randn(T, B, 1, generator=generator, dtype=torch.float32)
        inputs[0] = (2.0 * bits - 1).T
        return Batch(inputs, bits)
