"""Linear system identification: predict the output of a fixed linear system whose memory is chosen."""

from functools import cache
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register

TEACHER_SEED = 2024


@register
class LinearSystem(Task):
    """White noise x_t ~ N(0, 1) into a teacher's complex units h_t = λ h_{t-1} + b x_t; at every step answer Re(c h_t).

    The moduli of λ are uniform over the ring from `memory` to 1 and their angles over the circle, so that the nearer
    `memory` is to 1 the longer inputs count. A teacher is drawn once and for all, and its output scaled so that its
    mean variance over the steps is 1: the score is the share of it that is left unexplained.

    Reference: Zucchet and Orvieto 2024, "Recurrent Neural Networks: Vanishing and Exploding Gradients Are Not the End
    of the Story", section 4 (teacher of ten units, 300 steps).
    """

    kind: Literal["linear_system"] = "linear_system"
    length: int = Field(default=300, ge=2, le=10_000)
    memory: float = Field(default=0.9, ge=0, lt=1)
    """ν, the least modulus of λ."""
    units: int = Field(default=10, ge=1)
    teacher: int = Field(default=0, ge=0)
    """Which teacher: another number draws another one."""

    score_name: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False
    solved_at: ClassVar[float] = 0.01

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
        return 1

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 4, self.length // 2, self.length - 1}))

    @property
    def baseline(self) -> Baseline:
        return Baseline(1.0, 1.0, "always answering 0: the variance of the output")

    @property
    def variant(self) -> str:
        return f"teacher {self.teacher} of {self.units} complex units with moduli from {self.memory:g} to 1"

    @property
    def label(self) -> str:
        others = f"_units{self.units}" * (self.units != 10) + f"_teacher{self.teacher}" * (self.teacher != 0)
        return f"{self.kind}{self.memory:g}{others}-{self.length}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        T = self.length
        inputs = torch.randn(T, batch_size, 1, generator=generator, dtype=torch.float32)
        response = impulse_response(T, self.memory, self.units, self.teacher)
        both = torch.fft.rfft(inputs.double(), 2 * T, dim=0) * torch.fft.rfft(response, 2 * T)[:, None, None]
        return Batch(inputs, torch.fft.irfft(both, 2 * T, dim=0)[:T].float())


@cache
def impulse_response(length: int, memory: float, units: int, teacher: int) -> Tensor:
    """What the teacher's output is k steps after a single input of 1, (T,) in float64: the same for all runs.

    A legacy RandomState, because numpy promises never to change its stream.
    """
    random = np.random.RandomState([TEACHER_SEED, teacher])
    modulus = np.sqrt(random.uniform(memory**2, 1, units))
    eigenvalue = modulus * np.exp(2j * np.pi * random.uniform(size=units))
    weight = random.normal(size=units) + 1j * random.normal(size=units)  # c b of each unit
    response = (weight * eigenvalue ** np.arange(length)[:, None]).sum(1).real
    variance = np.cumsum(response**2).mean()  # of the output at each step, over white noise, in the mean
    return torch.from_numpy(response / np.sqrt(variance))
