"""The adding problem: two marked numbers in a long sequence, answer their sum."""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from rnnlab.tasks.base import Baseline, Batch, Task
from rnnlab.tasks.registry import register


@register
class Adding(Task):
    """Inputs (u_t, m_t) with u_t ~ U(0, 1) and two markers, one in each half; target the marked sum.

    Noise reaches both inputs of the unmarked steps alone: the answer stays exactly attainable and the baseline what it
    is, and what is hard is to let the disturbances pass without harm to the number that is kept.

    Reference: Hochreiter and Schmidhuber 1997, section 5.4; this variant is that of Arjovsky et al. 2016.
    """

    kind: Literal["adding"] = "adding"
    length: int = Field(default=100, ge=2, le=10_000)
    noise: float = Field(default=0.0, ge=0)
    """Standard deviation of Gaussian noise on value and marker of every unmarked step."""

    score_name: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False
    solved_at: ClassVar[float] = 0.01

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return 2

    @property
    def output_size(self) -> int:
        return 1

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 4, self.length // 2, self.length - 1}))

    @property
    def baseline(self) -> Baseline:
        return Baseline(1 / 6, 1 / 6, "always answering 1: variance of the sum of two U(0,1), 2/12")

    @property
    def variant(self) -> str:
        noise = f", Gaussian noise of standard deviation {self.noise:g} on unmarked steps" if self.noise else ""
        return f"inputs U(0,1), one marker in each half, target x1 + x2{noise}"

    @property
    def label(self) -> str:
        return f"{self.kind}_noise{self.noise:g}-{self.length}" if self.noise else super().label

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        T, B, half = self.length, batch_size, self.length // 2
        values = torch.rand(T, B, generator=generator, dtype=torch.float32)
        first = torch.randint(0, half, (1, B), generator=generator)
        second = torch.randint(half, T, (1, B), generator=generator)
        markers = torch.zeros_like(values).scatter_(0, first, 1.0).scatter_(0, second, 1.0)
        inputs = torch.stack([values, markers], dim=-1)  # (T, B, 2)
        targets = (values * markers).sum(0)[None, :, None]  # (1, B, 1)
        if self.noise:
            noise = torch.randn(inputs.shape, generator=generator, dtype=torch.float32)
            inputs = inputs + self.noise * noise * (1 - markers)[..., None]
        return Batch(inputs, targets)
