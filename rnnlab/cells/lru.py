"""Linear recurrent unit: a complex number per unit, which rotates and decays."""

import math
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn.utils import parametrize

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


def check_ring(r_min: float, r_max: float) -> None:
    """Refuse a ring, over which moduli start, that is none."""
    if r_min >= r_max:
        raise ValueError(f"r_min = {r_min} must be below r_max = {r_max}: lower it or raise r_max")


@register
class LRUCell(Cell):
    """h_t = λ h_{t-1} + γ B x_t, unit by unit, with complex λ = exp(-exp(ν) + i exp(θ)); output Re(C h_t) + D x_t.

    No value of ν and θ, which are what is trained, makes a unit unstable. `hidden_size` H is the number of complex
    units and that of the outputs; the state is 2H real numbers, all real parts first. Matrices are real too:
    `weight_ih` is (Re B; Im B), `weight_ho` is (Re C, -Im C), `weight_io` is D, and `gamma_log` is ln γ. λ starts
    uniformly over the ring between `r_min` and `r_max`, up to `max_phase`, and γ at sqrt(1 - abs(λ)²), so that white
    input gives slow and fast units the same variance.

    Reference: Orvieto et al. 2023, "Resurrecting Recurrent Neural Networks for Long Sequences", lemma 3.2 (ring) and
    sections 3.3 (exponential) and 3.4 (γ).
    """

    kind: Literal["lru"] = "lru"
    r_min: float = Field(default=0.0, ge=0, lt=1)
    r_max: float = Field(default=1.0, gt=0, le=1)
    max_phase: float = Field(default=math.tau, gt=0, le=math.tau)
    """The largest angle of λ at the start, in radians; a small one starts with slow units alone."""

    own_start: ClassVar[frozenset[str]] = frozenset({"weight_ih", "weight_hh", "gamma_log", "weight_ho", "weight_io"})

    @model_validator(mode="after")
    def _check_ring(self) -> Self:
        check_ring(self.r_min, self.r_max)
        return self

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (2 * self.hidden_size,)

    @property
    def output_size(self) -> int:
        return self.hidden_size

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        H = self.hidden_size
        return {
            "weight_ih": (2 * H, input_size),
            "weight_hh": (2, H),
            "gamma_log": (H,),
            "weight_ho": (H, 2 * H),
            "weight_io": (H, input_size),
        }

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        stored = tensors["weight_hh"]
        limits = torch.finfo(stored.dtype)
        squared = torch.empty_like(stored[0]).uniform_(self.r_min**2, self.r_max**2, generator=generator)
        squared.clamp_(limits.tiny, 1 - limits.eps)  # 0 and 1 have no finite ν
        angle = torch.empty_like(stored[1]).uniform_(0, self.max_phase, generator=generator).clamp_(min=limits.tiny)
        stored[0], stored[1] = (-0.5 * squared.log()).log(), angle.log()
        tensors["gamma_log"].copy_(0.5 * (1 - squared).log())
        I, H = tensors["weight_io"].shape[1], self.hidden_size
        tensors["weight_ih"].normal_(0, 1 / math.sqrt(2 * I), generator=generator)
        tensors["weight_ho"].normal_(0, 1 / math.sqrt(H), generator=generator)
        tensors["weight_io"].normal_(generator=generator)

    def parametrize(self, layer: nn.Module, suffix: str, steps: int) -> None:
        parametrize.register_parametrization(layer, f"weight_hh{suffix}", _Decaying())

    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        return F.linear(x, w.weight_ih) * w.gamma_log.exp().repeat(2)

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        a, b = w.weight_hh  # λ = a + ib
        re, im = h.chunk(2, -1)
        return (u + torch.cat([a * re - b * im, a * im + b * re], -1),)

    def emit(self, w: Weights, h: Tensor, x: Tensor) -> Tensor:
        return F.linear(h, w.weight_ho) + F.linear(x, w.weight_io)


class _Decaying(nn.Module):
    """Reads the stored (ν, θ), (2, H), as real and imaginary part of λ. Values are set in their stored form."""

    def forward(self, stored: Tensor) -> Tensor:
        modulus, angle = (-stored[0].exp()).exp(), stored[1].exp()
        return torch.stack([modulus * angle.cos(), modulus * angle.sin()])

    def right_inverse(self, stored: Tensor) -> Tensor:
        return stored
