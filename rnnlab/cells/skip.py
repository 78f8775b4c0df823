"""A vanilla recurrent network that also reads the hidden state of several steps ago."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class SkipCell(Cell):
    """h_t = tanh(W x_t + U h_{t-1} + V h_{t-s} + b), with U named `weight_hh` and V `weight_hh_skip`.

    The second state, `delay`, is a queue of (s - 1) H numbers: h_{t-1} first, h_{t-s+1} last.

    Reference: Zhang et al. 2016, "Architectural Complexity Measures of Recurrent Neural Networks", section 4.4.
    """

    kind: Literal["skip"] = "skip"
    span: int = Field(default=10, ge=2)
    """s, the number of steps that the second connection skips back."""

    states: ClassVar[tuple[str, ...]] = ("h", "delay")
    copies: ClassVar[frozenset[str]] = frozenset({"delay"})
    recurrent_bias: ClassVar[bool] = False

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return self.hidden_size, (self.span - 1) * self.hidden_size

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        return super().parameter_shapes(input_size, bias) | {"weight_hh_skip": (self.hidden_size, self.hidden_size)}

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, delay = states
        waiting, skipped = delay.split([(self.span - 2) * self.hidden_size, self.hidden_size], -1)
        z = u + F.linear(h, w.weight_hh) + F.linear(skipped, w.weight_hh_skip)
        return w.activate("hidden", z), torch.cat([h, waiting], -1)
