"""Continual embedded Reber grammar: strings follow each other without a mark, each with a symbol to keep to its end."""

import math
from functools import cache
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from rnnlab.tasks.base import Answers, Baseline, Batch, Task
from rnnlab.tasks.registry import register

B, T, P, S, X, V, E = range(7)
REBER = {
    0: ((T, 1), (P, 2)),
    1: ((S, 1), (X, 3)),
    2: ((T, 2), (V, 4)),
    3: ((X, 2), (S, 5)),
    4: ((P, 3), (V, 5)),
    5: ((E, 6), (E, 6)),
}
"""By node: the two ways on, each with its symbol and the node that it leads to."""
STRING = 12
"""Symbols of an embedded string on average: B, T or P, an inner string of eight, the same T or P, E."""
CHOICES = 8
"""Of them, those that are one of two: outer, six inner on average, and the repeated one, once it is forgotten."""


@register
class ContinualReber(Task):
    """At every step name the next symbol of a stream of embedded Reber strings.

    A string is B, T or P, a Reber string, the same T or P again, E; the next one follows at once. The score looks
    at the repeated symbol alone, which has to be kept over the inner string, eight steps on average.

    Reference: Gers et al. 2000, "Learning to Forget: Continual Prediction with LSTM", section 4; the grammar is that of
    Hochreiter and Schmidhuber 1997, section 5.1.
    """

    kind: Literal["continual_reber"] = "continual_reber"
    length: int = Field(default=100, ge=30, le=1_000_000)

    symbols: ClassVar[bool] = True
    predicts_inputs: ClassVar[bool] = True
    solved_at: ClassVar[float] = 0.99

    @property
    def answers(self) -> Answers:
        return "every"

    @property
    def steps(self) -> int:
        return self.length

    @property
    def input_size(self) -> int:
        return 7

    @property
    def output_size(self) -> int:
        return 7

    @property
    def lags(self) -> tuple[int, ...]:
        return (9, 18)

    @property
    def baseline(self) -> Baseline:
        formula = (
            "the repeated symbol forgotten: 8 fair choices in 12 symbols, 8 ln 2 / 12; half of the repeated ones right"
        )
        return Baseline(CHOICES * math.log(2) / STRING, 1 / 2, formula)

    @property
    def variant(self) -> str:
        return "embedded Reber strings end to end, next symbol at every step, score of the repeated symbol alone"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        symbol, following = _automaton()
        coins = torch.randint(0, 2, (self.length + 1, batch_size), generator=generator).numpy()
        state, rows = np.zeros(batch_size, dtype=np.int64), np.empty_like(coins)
        for row, coin in zip(rows, coins, strict=True):
            row[:] = symbol[state, coin]
            state = following[state, coin]
        stream = torch.from_numpy(rows)
        return Batch(stream[:-1].contiguous(), stream[1:].contiguous())

    def scores(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Share of right answers among repeated symbols, which come after the E of an inner string."""
        due = torch.zeros_like(targets, dtype=torch.bool)
        due[1:] = (targets[:-1] == E) & (targets[1:] != B)
        right = (outputs.argmax(-1) == targets) & due
        return right.sum(0) / due.sum(0).clamp(min=1)

    def legal(self, inputs: Tensor) -> Tensor:
        """Which symbols may come next, (T, B, 7), from (T, B) symbols of streams that begin with a string."""
        symbol, following = _automaton()
        state, rows = np.zeros(inputs.shape[1], dtype=np.int64), np.zeros((*inputs.shape, 7), dtype=bool)
        for row, seen in zip(rows, inputs.numpy(), strict=True):
            coin = (symbol[state, 1] == seen).astype(np.int64)
            state = following[state, coin]
            np.put_along_axis(row, symbol[state], True, axis=1)
        return torch.from_numpy(rows)


@cache
def _automaton() -> tuple[np.ndarray, np.ndarray]:
    """Symbol and next state by state and coin, (N, 2) each; the states of the inner string exist for T and for P."""
    ways: dict[object, tuple[tuple[int, object], tuple[int, object]]] = {
        "start": ((B, "outer"), (B, "outer")),
        "outer": ((T, (T, "begin")), (P, (P, "begin"))),
    }
    for kept in (T, P):
        ways[kept, "begin"] = ((B, (kept, 0)), (B, (kept, 0)))
        for node, ((one, after), (other, later)) in REBER.items():
            ways[kept, node] = ((one, (kept, after)), (other, (kept, later)))
        ways[kept, 6] = ((kept, "end"), (kept, "end"))
    ways["end"] = ((E, "start"), (E, "start"))
    number = {state: k for k, state in enumerate(ways)}
    symbol = np.array([[way[0] for way in pair] for pair in ways.values()])
    return symbol, np.array([[number[way[1]] for way in pair] for pair in ways.values()])
