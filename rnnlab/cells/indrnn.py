"""Independently recurrent network: every unit reads its own past alone."""

import math
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rnnlab.cells.activations import ACTIVATIONS
from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class IndRNNCell(Cell):
    """h_t = φ(W_ih x_t + u h_{t-1} + b) with a vector u, named `weight_hh`, that multiplies unit by unit.

    With `growth` γ, every abs(u) is clipped to γ^(1/T), so that no unit can amplify a gradient by more than γ over the
    T steps of the task. u starts uniformly between 0 and that bound, or between 0 and 1 without one.

    Reference: Li et al. 2018, "Independently Recurrent Neural Network (IndRNN): Building A Longer and Deeper RNN",
    eq. 2 and section 3.
    """

    kind: Literal["indrnn"] = "indrnn"
    activation: Literal["relu", "tanh", "identity"] = "relu"
    """identity makes it linear: every unit decays at log10 abs(u) decades a step, exactly."""
    growth: float | None = Field(default=2.0, gt=0)
    """γ; none leaves u free."""

    recurrent_bias: ClassVar[bool] = False
    own_start: ClassVar[frozenset[str]] = frozenset({"weight_hh"})

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        return super().parameter_shapes(input_size, bias) | {"weight_hh": (self.hidden_size,)}

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        tensors["weight_hh"].uniform_(0, self._bound(steps), generator=generator)

    def parametrize(self, layer: nn.Module, suffix: str, steps: int) -> None:
        if self.growth is not None:
            parametrize.register_parametrization(layer, f"weight_hh{suffix}", _Clipped(self._bound(steps)))

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        return (w.activate("hidden", u + w.weight_hh * h, ACTIVATIONS[self.activation]),)

    def _bound(self, steps: int) -> float:
        return 1.0 if self.growth is None else math.pow(self.growth, 1 / steps)


class _Clipped(nn.Module):
    """Clips the stored values whenever they are read.

    A clamp inside the graph would have no gradient beyond the bound, and weights once there could never come back.
    """

    def __init__(self, bound: float) -> None:
        super().__init__()
        self.bound = bound

    def forward(self, u: Tensor) -> Tensor:
        with torch.no_grad():
            u.clamp_(-self.bound, self.bound)
        return u.clone()  # a further read must not touch what an earlier one handed on

    def right_inverse(self, u: Tensor) -> Tensor:
        return u
