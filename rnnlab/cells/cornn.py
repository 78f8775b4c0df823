"""Coupled oscillatory recurrent network: every unit is a damped, driven oscillator."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class CoRNNCell(Cell):
    """z_t = z_{t-1} + Δt (tanh(V x_t + W h_{t-1} + 𝒲 z_{t-1} + b) - γ h_{t-1} - ε z_s); h_t = h_{t-1} + Δt z_t.

    h is the position that the paper calls y, and z its velocity; W is named `weight_hh` and 𝒲 `weight_hh_z`. The
    damping acts on the old velocity, s = t - 1, as in the authors' code, or is `implicit`, s = t, as in the paper's
    proofs: with γ = ε = 1 and Δt of at most 1, h_t² + z_t² then stays below t Δt for every unit. The defaults are
    the paper's for pixel-by-pixel MNIST.

    Reference: Rusch and Mishra 2021, "Coupled Oscillatory Recurrent Neural Network (coRNN): An Accurate and (Gradient)
    Stable Architecture for Learning Long Time Dependencies", eq. 3 (the step) and proposition 3.1 (the bound).
    """

    kind: Literal["cornn"] = "cornn"
    dt: float = Field(default=0.042, gt=0)
    """Δt."""
    gamma: float = Field(default=2.7, ge=0)
    """γ, the stiffness: the square of the oscillators' own frequency."""
    epsilon: float = Field(default=4.7, ge=0)
    """ε, the damping."""
    damping: Literal["explicit", "implicit"] = "explicit"

    states: ClassVar[tuple[str, ...]] = ("h", "z")
    recurrent_bias: ClassVar[bool] = False

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        return super().parameter_shapes(input_size, bias) | {"weight_hh_z": (self.hidden_size, self.hidden_size)}

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, z = states
        f = w.activate("hidden", u + F.linear(h, w.weight_hh) + F.linear(z, w.weight_hh_z))
        driven, damping = z + self.dt * (f - self.gamma * h), self.dt * self.epsilon
        z = driven - damping * z if self.damping == "explicit" else driven / (1 + damping)
        return h + self.dt * z, z
