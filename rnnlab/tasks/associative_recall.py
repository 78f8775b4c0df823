"""Associative recall: pairs of a key and a value, then one of the keys, answer its value."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field

from rnnlab.tasks.base import Baseline, Batch, Task
from rnnlab.tasks.registry import register

KEYS, VALUES = 26, 10
MARKER = KEYS + VALUES  # keys are the symbols 0 to 25, values 26 to 35


@register
class AssociativeRecall(Task):
    """`pairs` pairs of a key and a value, a marker twice, one of the keys: c9 k8 j3 f1 ?? c, answer 9.

    Keys are distinct letters, values independent digits; the class is the digit. What has to be kept is which value
    goes with which key, and not until the last step does it turn out which is wanted.

    Reference: Ba et al. 2016, "Using Fast Weights to Attend to the Recent Past", section 4.1.
    """

    kind: Literal["associative_recall"] = "associative_recall"
    pairs: int = Field(default=4, ge=1, le=KEYS)

    symbols: ClassVar[bool] = True
    solved_at: ClassVar[float] = 0.99

    @property
    def steps(self) -> int:
        return 2 * self.pairs + 3

    @property
    def input_size(self) -> int:
        return KEYS + VALUES + 1

    @property
    def output_size(self) -> int:
        return VALUES

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({3, self.steps - 2}))  # the last value shown and the first

    @property
    def baseline(self) -> Baseline:
        return Baseline(math.log(VALUES), 1 / VALUES, "guessing: ln 10, one in ten right")

    @property
    def variant(self) -> str:
        return f"{self.pairs} pair{'s' * (self.pairs > 1)} of one of 26 letters and one of 10 digits, marker, a letter"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        K, B = self.pairs, batch_size
        keys = torch.rand(KEYS, B, generator=generator).argsort(0)[:K]  # distinct
        values = torch.randint(0, VALUES, (K, B), generator=generator)
        asked = torch.randint(0, K, (1, B), generator=generator)
        shown = torch.stack([keys, values + KEYS], dim=1).flatten(0, 1)  # (2 K, B), key by value
        inputs = torch.cat([shown, torch.full((2, B), MARKER), keys.gather(0, asked)])
        return Batch(inputs, values.gather(0, asked))
