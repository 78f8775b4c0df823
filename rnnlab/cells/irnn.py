"""Rectified linear units that start as an identity."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from rnnlab.cells.base import States
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class IRNNCell(NormalizedCell):
    """h_t = max(0, W_ih x_t + W_hh h_{t-1} + b), with W_hh = `scale` I and b = 0 at the start.

    Reference: Le et al. 2015, "A Simple Way to Initialize Recurrent Networks of Rectified Linear Units", section 3.
    """

    kind: Literal["irnn"] = "irnn"
    scale: float = Field(default=1.0, gt=0)
    """Less than one forgets from the start, for tasks with short memory."""

    adds_products: ClassVar[bool] = True
    recurrent_bias: ClassVar[bool] = False
    own_start: ClassVar[frozenset[str]] = frozenset({"weight_hh", "bias_ih"})

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        nn.init.eye_(tensors["weight_hh"]).mul_(self.scale)
        if "bias_ih" in tensors:
            tensors["bias_ih"].zero_()

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        return (w.activate("hidden", self.combine(w, u, h, t), F.relu),)
