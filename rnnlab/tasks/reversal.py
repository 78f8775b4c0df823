"""Reversal: read symbols, then write them backwards, with fillers left out and, if wanted, translated."""

import math
from functools import cache
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rnnlab.tasks.base import IGNORED, Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register

ALPHABET = 8
FILLER = 0  # among the inputs; the symbols to be written are 1 to 8
MAPPING_SEED = 2014


@register
class Reversal(Task):
    """Read `length` symbols, then let a decoder write them in reverse order and an end symbol (many to many).

    With `fillers`, each input is with that probability a filler, which is read and not written: answers differ in
    length. With `mapping`, every symbol is written as its partner in a fixed permutation of the alphabet, the smallest
    case of a translation. The score is the share of right symbols, the end symbol among them, when the decoder reads
    its own answers.

    Reference: Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks", sections 2 and 3.3.
    """

    kind: Literal["reversal"] = "reversal"
    length: int = Field(default=8, ge=1, le=1000)
    fillers: float = Field(default=0.0, ge=0, lt=1)
    """Probability that an input is a filler."""
    mapping: bool = False
    """Write every symbol as its partner in one fixed permutation, the same for all runs."""

    symbols: ClassVar[bool] = True
    solved_at: ClassVar[float] = 0.99

    @property
    def answers(self) -> Answers:
        return "decoder"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def answer_steps(self) -> int:
        return self.length + 1

    @property
    def input_size(self) -> int:
        return ALPHABET + 1

    @property
    def output_size(self) -> int:
        return ALPHABET + 1

    @property
    def lags(self) -> tuple[int, ...]:
        return self.length, 2 * self.length  # the decoder's first step and the encoder's

    @property
    def baseline(self) -> Baseline:
        n, kept = self.length, 1 - self.fillers
        k = np.arange(n + 1)  # length of the answer without its end
        log_ways = [math.lgamma(n + 1) - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in k]
        p = np.exp(log_ways) * kept**k * self.fillers ** (n - k)
        end = p / np.maximum(p[::-1].cumsum()[::-1], np.finfo(float).tiny)  # given that the answer is that long
        ends = end > (1 - end) / ALPHABET  # where the end is the best guess
        right_before = np.concatenate([[0.0], np.where(ends, 0.0, 1 / ALPHABET)[:-1].cumsum()])
        entropy = -float(p[p > 0] @ np.log(p[p > 0]))
        return Baseline(
            (entropy + n * kept * math.log(ALPHABET)) / (n * kept + 1),
            float(p @ ((right_before + ends) / (k + 1))),
            "the position known and the input not: ln 8 for a symbol, and the entropy of the answer's length, "
            "over the mean number of answers",
        )

    @property
    def variant(self) -> str:
        fillers = f", each a filler with probability {self.fillers:g}" if self.fillers else ""
        mapping = ", translated symbol by symbol" if self.mapping else ""
        return f"{self.length} inputs of 8 symbols{fillers}, written backwards{mapping} with an end symbol"

    @property
    def label(self) -> str:
        mapped, fillers = "mapped_" * self.mapping, f"_fillers{self.fillers:g}" if self.fillers else ""
        return f"{mapped}{self.kind}{fillers}-{self.length}"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        T, B = self.length, batch_size
        inputs = torch.randint(1, ALPHABET + 1, (T, B), generator=generator)
        if self.fillers:
            inputs[torch.rand(T, B, generator=generator) < self.fillers] = FILLER
        written = inputs.flip(0)
        # A stable sort brings the symbols to the front, in their order, and leaves the fillers behind.
        order = (written == FILLER).to(torch.int8).argsort(stable=True, dim=0)
        targets = torch.cat([written.gather(0, order), torch.full((1, B), FILLER)])  # (T + 1, B)
        if self.mapping:
            targets = permutation()[targets]
        count = (inputs != FILLER).sum(0)
        targets[torch.arange(T + 1)[:, None] > count] = IGNORED  # what is left is the end, 0 among the answers, once
        return Batch(inputs, targets)


@cache
def permutation() -> Tensor:
    """Return the partner of every symbol, never itself; 0, filler and end, is its own.

    A legacy RandomState, because numpy promises never to change its stream.
    """
    circle = np.random.RandomState(MAPPING_SEED).permutation(ALPHABET) + 1
    partners = np.zeros(ALPHABET + 1, dtype=np.int64)
    partners[circle] = np.roll(circle, 1)
    return torch.from_numpy(partners)
