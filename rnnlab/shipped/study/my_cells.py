"""A cell of your own: its equations, and nothing else. It is compiled to a kernel like those that come with rnnlab."""

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.cells.base import States
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class LeakyCell(NormalizedCell):
    """h_t = (1 - α) h_{t-1} + α tanh(W_ih x_t + W_hh h_{t-1} + b): a leaky integrator."""

    kind: Literal["leaky"] = "leaky"
    alpha: float = Field(default=0.1, gt=0, le=1)
    """α: 1 is the plain network."""

    recurrent_bias: ClassVar[bool] = False

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        new = w.activate("new", u + self.recur(w, h, t), torch.tanh)
        return ((1 - self.alpha) * h + self.alpha * new,)
