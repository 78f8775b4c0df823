"""Generation: one symbol at the first step, then silence; emit the sequence that belongs to it."""

from functools import cache
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register

SILENCE = 0  # the inputs that name a sequence are 1 to `sequences`
TABLE_SEED = 1991


@register
class Generation(Task):
    """One of `sequences` names at t = 0 and nothing after it; at every step, answer the next symbol of the named
    sequence (one to many).

    The sequences are drawn once and for all from eight symbols, so that they are learnt by heart; to tell them apart
    at step t the name has to be remembered for t steps.

    Reference: Vinyals et al. 2015, "Show and Tell: A Neural Image Caption Generator", section 3.1, where the image
    too is shown at the first step alone.
    """

    kind: Literal["generation"] = "generation"
    length: int = Field(default=20, ge=1, le=10_000)
    sequences: int = Field(default=8, ge=2, le=1000)

    symbols: ClassVar[bool] = True
    solved_at: ClassVar[float] = 0.99

    @property
    def answers(self) -> Answers:
        return "every"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return self.sequences + 1

    @property
    def output_size(self) -> int:
        return 8

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.length // 2, self.length - 1}))

    @property
    def baseline(self) -> Baseline:
        counts = torch.nn.functional.one_hot(self._table(), self.output_size).sum(1)  # (T, O)
        share = counts.double() / self.sequences
        return Baseline(
            float(torch.special.entr(share).sum(-1).mean()),
            float(share.amax(-1).mean()),
            "the step known and the name not: mean entropy of the symbols at a step, and share of the most frequent",
        )

    @property
    def variant(self) -> str:
        return f"{self.sequences} fixed sequences of 8 symbols, named at the first step"

    @property
    def label(self) -> str:
        return super().label if self.sequences == 8 else f"{self.kind}_{self.sequences}sequences-{self.length}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        names = torch.randint(0, self.sequences, (batch_size,), generator=generator)
        inputs = torch.full((self.length, batch_size), SILENCE)
        inputs[0] = names + 1
        return Batch(inputs, self._table()[:, names])

    def _table(self) -> Tensor:
        return table(self.length, self.sequences, self.output_size)


@cache
def table(length: int, sequences: int, alphabet: int) -> Tensor:
    """Return the symbols of every sequence, (T, N): the same for all runs.

    A legacy RandomState, because numpy promises never to change its stream. Column k is a prefix of the k-th sequence
    of any greater length.
    """
    rows = [np.random.RandomState([TABLE_SEED, k]).randint(0, alphabet, length) for k in range(sequences)]
    return torch.from_numpy(np.stack(rows, axis=1))
