"""Recurrence by an orthogonal matrix, which training keeps orthogonal."""

import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from rnnlab.cells.activations import ACTIVATIONS, modrelu
from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class OrthogonalCell(Cell):
    """h_t = φ(W_ih x_t + b + ρ Q h_{t-1}) with Q orthogonal; Q is named `weight_hh` and ρ `scale`.

    Without activation, every step back multiplies the gradient norm by exactly ρ. A complex unitary matrix of n units
    is a real orthogonal one of 2n, so this cell can do all that a full unitary one can; `unitary` is a
    complex recurrence of fewer weights.

    Reference: Lezcano-Casado and Martínez-Rubio 2019, "Cheap Orthogonal Constraints in Neural Networks" (matrix
    exponential); Helfrich et al. 2018, "Orthogonal Recurrent Neural Networks with Scaled Cayley Transform" (Cayley
    map); Henaff et al. 2016, "Recurrent Orthogonal Networks and Long-Memory Tasks" (rotations).
    """

    kind: Literal["orthogonal"] = "orthogonal"
    activation: Literal["identity", "tanh", "relu", "modrelu"] = "modrelu"
    map: Literal["matrix_exp", "cayley"] = "matrix_exp"
    """How free weights become an orthogonal matrix."""
    start: Literal["uniform", "rotations"] = "uniform"
    """Q at the start: uniform over all orthogonal matrices, or independent rotations of pairs of units by U(-π, π)."""
    scale: float = Field(default=1.0, gt=0)

    recurrent_bias: ClassVar[bool] = False
    own_start: ClassVar[frozenset[str]] = frozenset({"weight_hh", "modrelu_bias"})

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes = super().parameter_shapes(input_size, bias)
        return shapes | {"modrelu_bias": (self.hidden_size,)} if self.activation == "modrelu" else shapes

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        if "modrelu_bias" in tensors:
            tensors["modrelu_bias"].zero_()
        Q = tensors["weight_hh"]
        if self.start == "uniform":
            nn.init.orthogonal_(Q, generator=generator)
            return
        a = torch.arange(0, self.hidden_size - 1, 2)  # the first unit of each pair
        angle = Q.new_empty(len(a)).uniform_(-math.pi, math.pi, generator=generator)
        nn.init.eye_(Q)  # an odd unit that is left over keeps its value
        Q[a, a] = Q[a + 1, a + 1] = angle.cos()
        Q[a + 1, a] = angle.sin()
        Q[a, a + 1] = -angle.sin()

    def parametrize(self, layer: nn.Module, suffix: str, steps: int) -> None:
        parametrizations.orthogonal(layer, f"weight_hh{suffix}", self.map)

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        return (w.activate("hidden", u + self.scale * F.linear(h, w.weight_hh), self._activation(w)),)

    def _activation(self, w: Weights) -> Callable[[Tensor], Tensor]:
        return partial(modrelu, bias=w.modrelu_bias) if self.activation == "modrelu" else ACTIVATIONS[self.activation]
