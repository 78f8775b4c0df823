"""Linear oscillatory state space: every unit is a driven oscillator without damping, read over steps of its own."""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class LinOSSCell(Cell):
    """z_t = z_{t-1} + Δ (B x_t - A h_s); h_t = h_{t-1} + Δ z_t, unit by unit; output C h_t + D x_t.

    h is the position that the paper calls y, and z its velocity. The spring pulls at the new position, s = t, in the
    implicit scheme `im`, whose eigenvalues have modulus 1 / sqrt(1 + Δ² A): it forgets. It pulls at the old one,
    s = t - 1, in `imex`, which keeps volumes: while Δ² A < 4 the eigenvalues lie on the unit circle. A = max(0, Â) and
    Δ = σ(·) are trained: `weight_hh` is Â and `step_logit` the argument of σ; `weight_ih` is B, `weight_ho` C and
    `weight_io` D. The authors' code has complex B and C, which are two such units with the same A and Δ.

    Reference: Rusch and Rus 2025, "Oscillatory State-Space Models", sections 2 (the two schemes) and 3 (stability).
    """

    kind: Literal["linoss"] = "linoss"
    scheme: Literal["im", "imex"] = "im"

    states: ClassVar[tuple[str, ...]] = ("h", "z")
    own_start: ClassVar[frozenset[str]] = frozenset({"weight_ih", "weight_hh", "step_logit", "weight_ho", "weight_io"})

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        H = self.hidden_size
        return {
            "weight_ih": (H, input_size),
            "weight_hh": (H,),
            "step_logit": (H,),
            "weight_ho": (H, H),
            "weight_io": (H, input_size),
        }

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        for name, size in (("weight_ih", tensors["weight_ih"].shape[1]), ("weight_ho", self.hidden_size)):
            bound = 1 / math.sqrt(size)
            tensors[name].uniform_(-bound, bound, generator=generator)
        for name in ("weight_hh", "step_logit"):
            tensors[name].uniform_(0, 1, generator=generator)
        tensors["weight_io"].normal_(generator=generator)

    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        return F.linear(x, w.weight_ih)

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, z = states
        stiffness, dt = F.relu(w.weight_hh), torch.sigmoid(w.step_logit)
        z = z + dt * (u - stiffness * h)
        if self.scheme == "im":
            z = z / (1 + dt * dt * stiffness)
        return h + dt * z, z

    def emit(self, w: Weights, h: Tensor, x: Tensor) -> Tensor:
        return F.linear(h, w.weight_ho) + F.linear(x, w.weight_io)
