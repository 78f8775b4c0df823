"""Diagonal state space: a linear differential equation in every unit, read over steps of learned length."""

import math
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class S5Cell(Cell):
    """ds/dt = λ s + B x, unit by unit, with complex λ and x held over steps of length Δ; output 2 Re(C s_t) + D x_t.

    That is s_t = exp(λΔ) s_{t-1} + (exp(λΔ) - 1)/λ B x_t. `hidden_size` H is the number of complex units, each of which
    stands for a conjugate pair, and that of the outputs; the state is 2H real numbers, all real parts first.
    `weight_hh` is (ln(-Re λ), Im λ), so that every unit decays, `step_log` is ln Δ, `weight_ih` (Re B; Im B),
    `weight_ho` (Re C, -Im C) and `weight_io` D. Re λ starts at -1/2 and Im λ as `start` says; Δ log-uniformly.

    Reference: Smith et al. 2023, "Simplified State Space Layers for Sequence Modeling", section 3 (S5); Gu et al.
    2022, "On the Parameterization and Initialization of Diagonal State Space Models", section 4 (S4D, starts).
    """

    kind: Literal["s5"] = "s5"
    start: Literal["hippo", "linear", "inverse"] = "hippo"
    """hippo takes the eigenvalues of HiPPO-N; linear π n and inverse (2H/π) (2H/(2n + 1) - 1) come near them."""
    dt_min: float = Field(default=0.001, gt=0)
    dt_max: float = Field(default=0.1, gt=0)

    own_start: ClassVar[frozenset[str]] = frozenset({"weight_ih", "weight_hh", "step_log", "weight_ho", "weight_io"})

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        if self.dt_min > self.dt_max:
            raise ValueError(f"dt_min = {self.dt_min} is above dt_max = {self.dt_max}: lower it or raise dt_max")
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
            "step_log": (H,),
            "weight_ho": (H, 2 * H),
            "weight_io": (H, input_size),
        }

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        I, H = tensors["weight_io"].shape[1], self.hidden_size
        tensors["weight_hh"][0] = math.log(0.5)
        tensors["weight_hh"][1] = _frequencies(self.start, H)
        tensors["step_log"].uniform_(math.log(self.dt_min), math.log(self.dt_max), generator=generator)
        tensors["weight_ih"].normal_(0, 1 / math.sqrt(2 * I), generator=generator)
        tensors["weight_ho"].normal_(0, 1 / math.sqrt(4 * H), generator=generator)
        tensors["weight_io"].normal_(generator=generator)

    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        re, im = -w.weight_hh[0].exp(), w.weight_hh[1]  # λ
        a, b = re * w.step_log.exp(), im * w.step_log.exp()  # λΔ
        # exp(λΔ) - 1, without the difference that would cancel where Δ is small, over λ.
        grown, turned = a.expm1() * b.cos() - 2 * (b / 2).sin() ** 2, a.exp() * b.sin()
        size = re * re + im * im
        c, d = (grown * re + turned * im) / size, (turned * re - grown * im) / size
        u_re, u_im = F.linear(x, w.weight_ih).chunk(2, -1)
        return torch.cat([c * u_re - d * u_im, c * u_im + d * u_re], -1)

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (s,) = states
        a, b = -w.weight_hh[0].exp() * w.step_log.exp(), w.weight_hh[1] * w.step_log.exp()  # λΔ
        a, b = a.exp() * b.cos(), a.exp() * b.sin()  # exp(λΔ)
        re, im = s.chunk(2, -1)
        return (u + torch.cat([a * re - b * im, a * im + b * re], -1),)

    def emit(self, w: Weights, h: Tensor, x: Tensor) -> Tensor:
        return 2 * F.linear(h, w.weight_ho) + F.linear(x, w.weight_io)


def _frequencies(start: str, H: int) -> Tensor:
    """Im λ of one of each conjugate pair, (H,)."""
    n = torch.arange(H, dtype=torch.float64)
    if start == "linear":
        return math.pi * n
    if start == "inverse":
        return 2 * H / math.pi * (2 * H / (2 * n + 1) - 1)
    root = torch.sqrt(2 * torch.arange(2 * H, dtype=torch.float64) + 1)
    lower = torch.tril(-0.5 * root[:, None] * root, -1)
    skew = lower - lower.T  # HiPPO-N is this - I/2
    return torch.linalg.eigvalsh(-1j * skew)[H:]
