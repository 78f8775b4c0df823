"""Real-gated linear recurrent unit: a linear recurrence whose decay is gated by the input."""

from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.lru import check_ring
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights

SHARPNESS = 8.0  # c in the paper


@register
class RGLRUCell(Cell):
    """r, i = σ(W x_t + b); a_t = σ(Λ)^(8 r); h_t = a_t h_{t-1} + sqrt(1 - a_t²) i (W_v x_t + b_v), unit by unit.

    Λ is named `weight_hh`. σ(Λ) starts uniformly over the ring between `r_min` and `r_max`, as in the authors' code.
    Gates that read W_v x + b_v, as there, are gates of x as well.

    Reference: De et al. 2024, "Griffin: Mixing Gated Linear Recurrences with Local Attention for Efficient Language
    Models", section 2.4.
    """

    kind: Literal["rglru"] = "rglru"
    r_min: float = Field(default=0.9, ge=0, lt=1)
    r_max: float = Field(default=0.999, gt=0, lt=1)

    recurrent_bias: ClassVar[bool] = False
    own_start: ClassVar[frozenset[str]] = frozenset({"weight_hh"})

    @model_validator(mode="after")
    def _check_ring(self) -> Self:
        check_ring(self.r_min, self.r_max)
        return self

    @property
    def gates(self) -> tuple[str, ...]:
        return ("recurrence", "input", "new")

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        return super().parameter_shapes(input_size, bias) | {"weight_hh": (self.hidden_size,)}

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        decay = tensors["weight_hh"]
        decay.uniform_(self.r_min**2, self.r_max**2, generator=generator).sqrt_()
        decay.clamp_(min=torch.finfo(decay.dtype).tiny).logit_()

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        z_r, z_i, new = u.chunk(3, -1)
        log_a = SHARPNESS * F.logsigmoid(w.weight_hh) * w.gate("recurrence", z_r)
        return (log_a.exp() * h + (-(2 * log_a).expm1()).sqrt() * w.gate("input", z_i) * new,)
