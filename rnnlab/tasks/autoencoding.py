"""Autoencoding: read a sequence of numbers, then reconstruct it from the final states alone."""

from typing import ClassVar, Literal

import torch
from pydantic import Field

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register


@register
class Autoencoding(Task):
    """`length` independent vectors of `features` numbers U(-1, 1); a decoder writes the same sequence, and the loss is
    the squared error of the reconstruction.

    The numbers are independent, so that none of them tells another: all that the decoder can know came through the
    states that the encoder handed over. The loss is that of teacher forcing, which still helps a little, because right
    numbers make the states easier to read; the score is that of a decoder that reads its own answers, and at 10% of
    the variance the task counts as solved.

    Reference: Srivastava et al. 2015, "Unsupervised Learning of Video Representations using LSTMs", section 2.2 (whose
    decoder writes in reverse order).
    """

    kind: Literal["autoencoding"] = "autoencoding"
    length: int = Field(default=5, ge=1, le=1000)
    features: int = Field(default=1, ge=1)

    score_name: ClassVar[str] = "mse"
    higher_is_better: ClassVar[bool] = False
    solved_at: ClassVar[float] = 1 / 30

    @property
    def answers(self) -> Answers:
        return "decoder"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def answer_steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return self.features

    @property
    def output_size(self) -> int:
        return self.features

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length, 2 * self.length - 1}))  # a number's own delay, and the first input

    @property
    def baseline(self) -> Baseline:
        return Baseline(1 / 3, 1 / 3, "always answering 0: variance of U(-1,1)")

    @property
    def variant(self) -> str:
        return f"{self.length} independent steps of {self.features} U(-1,1), written again in order"

    @property
    def label(self) -> str:
        return super().label if self.features == 1 else f"{self.kind}_{self.features}features-{self.length}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        numbers = torch.rand(self.length, batch_size, self.features, generator=generator, dtype=torch.float32)
        return Batch(2 * numbers - 1, 2 * numbers - 1)
