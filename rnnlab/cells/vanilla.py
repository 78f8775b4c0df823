"""The vanilla recurrent network, with any activation and an optional residual connection through time."""

from collections.abc import Callable
from functools import partial
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.cells.activations import ACTIVATIONS, ActivationName, modrelu
from rnnlab.cells.base import Shapes, States
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class VanillaCell(NormalizedCell):
    """h_t = φ(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh); with `residual` α: h_t = h_{t-1} + α φ(·).

    Reference: Elman 1990, "Finding Structure in Time"; the residual form is a step of the forward Euler method.
    """

    kind: Literal["vanilla"] = "vanilla"
    activation: ActivationName = "tanh"
    residual: float | None = Field(default=None, gt=0)
    """α of the residual connection through time; none is the plain recurrence."""

    adds_products: ClassVar[bool] = True
    own_start: ClassVar[frozenset[str]] = frozenset({"modrelu_bias"})

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes = super().parameter_shapes(input_size, bias)
        return shapes | {"modrelu_bias": (self.hidden_size,)} if self.activation == "modrelu" else shapes

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        if "modrelu_bias" in tensors:
            tensors["modrelu_bias"].zero_()

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        f = w.activate("hidden", self.combine(w, u, h, t), self._activation(w))
        return (f,) if self.residual is None else (h + self.residual * f,)

    def _activation(self, w: Weights) -> Callable[[Tensor], Tensor]:
        return partial(modrelu, bias=w.modrelu_bias) if self.activation == "modrelu" else ACTIVATIONS[self.activation]
