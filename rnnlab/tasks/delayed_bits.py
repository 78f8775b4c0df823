"""Delayed bits: a stream of fair bits, of which each is due again some steps later, alone or combined with another."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field, model_validator

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register


@register
class DelayedBits(Task):
    """Fair bits x_t = ±1; at step t answer the bit of `delay` steps ago, or with `xor` whether it differs from that of
    half the delay ago. The first `delay` answers are no, and not scored.

    Reference: Engelken 2023, "Gradient Flossing: Improving Gradient Descent through Dynamic Control of Jacobians",
    section 4 (delayed copy, temporal XOR).
    """

    kind: Literal["delayed_bits"] = "delayed_bits"
    length: int = Field(default=100, ge=2, le=10_000)
    delay: int = Field(default=10, ge=1)
    xor: bool = False

    solved_at: ClassVar[float] = 0.99

    @model_validator(mode="after")
    def _check_delay(self) -> "DelayedBits":
        if self.delay >= self.length or (self.xor and self.delay < 2):
            raise ValueError(
                f"delay = {self.delay} is not allowed: choose one below length = {self.length}, and at least 2 with xor"
            )
        return self

    @property
    def answers(self) -> Answers:
        return "every"

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
        return (self.delay,)

    @property
    def baseline(self) -> Baseline:
        free = (self.length - self.delay) / self.length
        return Baseline(free * math.log(2), 1 / 2, "guessing from the first bit on: (length - delay) ln 2 / length")

    @property
    def variant(self) -> str:
        what = f"the exclusive or of {self.delay} and {self.delay // 2} steps ago" if self.xor else "the bit"
        return f"fair bits, {what} due after {self.delay} steps, score of the steps that depend on a bit"

    @property
    def label(self) -> str:
        return f"{'delayed_xor' if self.xor else self.kind}{self.delay}-{self.length}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        bits = torch.randint(0, 2, (self.length, batch_size), generator=generator)
        targets = self._delayed(bits, self.delay)
        if self.xor:
            targets = targets ^ self._delayed(bits, self.delay // 2)
            targets[: self.delay] = 0
        return Batch((2.0 * bits - 1)[..., None], targets)

    def scores(self, outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return super().scores(outputs[self.delay :], targets[self.delay :])

    @staticmethod
    def _delayed(bits: torch.Tensor, steps: int) -> torch.Tensor:
        delayed = bits.roll(steps, 0)
        delayed[:steps] = 0
        return delayed
