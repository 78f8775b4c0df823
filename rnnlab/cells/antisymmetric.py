"""A step of Euler's method through a system whose linear part neither grows nor decays."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class AntisymmetricCell(Cell):
    """h_t = h_{t-1} + ε tanh(A h_{t-1} + V x_t + b) with A = W - Wᵀ - γ I.

    With `gated`, the step is multiplied by z_t = σ(A h_{t-1} + V_z x_t + b_z), whose rows of `weight_ih` come first.
    The eigenvalues of W - Wᵀ are imaginary: near zero, one step multiplies a mode of frequency ω by
    1 + ε (-γ ± i ω), so a small ε keeps gradients and γ makes up for the growth that Euler's method adds.

    Reference: Chang et al. 2019, "AntisymmetricRNN: A Dynamical System View on Recurrent Neural Networks", section 3.
    """

    kind: Literal["antisymmetric"] = "antisymmetric"
    gated: bool = False
    epsilon: float = Field(default=0.1, gt=0)
    """ε, the length of a step."""
    gamma: float = Field(default=0.01, ge=0)
    """γ, the strength of the damping."""

    recurrent_bias: ClassVar[bool] = False

    @property
    def gates(self) -> tuple[str, ...]:
        return ("update", "new") if self.gated else ()

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        return super().parameter_shapes(input_size, bias) | {"weight_hh": (self.hidden_size, self.hidden_size)}

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        v = F.linear(h, w.weight_hh - w.weight_hh.T) - self.gamma * h  # (B, H)
        if not self.gated:
            return (h + self.epsilon * w.activate("hidden", u + v),)
        u_z, u_n = u.chunk(2, -1)
        return (h + self.epsilon * w.gate("update", u_z + v) * w.activate("new", u_n + v),)
