"""Flip-flop: several bits that rare pulses set, to be held until the next pulse on the same channel."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register


@register
class FlipFlop(Task):
    """On each channel a pulse ±1 with probability `rate` at a step, 0 otherwise; at every step answer each channel's
    last pulse. All channels get one at the first step, so that there is always something to hold.

    A network that solves it has a stable fixed point for each of the 2^bits memories (see the probe `fixed_points`).

    Reference: Sussillo and Barak 2013, "Opening the Black Box: Low-Dimensional Dynamics in High-Dimensional Recurrent
    Neural Networks", section 4.
    """

    kind: Literal["flip_flop"] = "flip_flop"
    length: int = Field(default=100, ge=2, le=10_000)
    bits: int = Field(default=3, ge=1, le=32)
    rate: float = Field(default=0.1, gt=0, lt=1)

    solved_at: ClassVar[float] = 0.99

    @property
    def answers(self) -> Answers:
        return "every"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return self.bits

    @property
    def output_size(self) -> int:
        return self.bits

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 4, self.length // 2, self.length - 1}))

    @property
    def baseline(self) -> Baseline:
        forgotten = (1 - self.rate) * (self.length - 1) / self.length
        return Baseline(forgotten, 1 - forgotten / 2, "pulses repeated and 0 between them: the share of steps without")

    @property
    def variant(self) -> str:
        return f"{self.bits} bits, pulses with probability {self.rate:g} a step and at the first, score of right signs"

    @property
    def label(self) -> str:
        others = f"_{self.bits}bits" * (self.bits != 3) + f"_rate{self.rate:g}" * (self.rate != 0.1)
        return f"{self.kind}{others}-{self.length}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        shape = (self.length, batch_size, self.bits)
        pulse = torch.rand(shape, generator=generator, dtype=torch.float32) < self.rate
        pulse[0] = True
        signs = 2.0 * torch.randint(0, 2, shape, generator=generator) - 1
        steps = torch.arange(self.length)[:, None, None]
        last = torch.where(pulse, steps, 0).cummax(0).values  # step of each channel's last pulse
        return Batch(signs * pulse, signs.gather(0, last))

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return ((outputs > 0) == (targets > 0)).float().mean((0, -1))
