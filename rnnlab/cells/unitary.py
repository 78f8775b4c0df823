"""Complex recurrence by a unitary matrix that is a product of simple factors, with 7H weights."""

import math
from functools import cache
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class UnitaryCell(Cell):
    """h_t = modReLU(U h_{t-1} + V x_t) with h complex and U = D_3 R_2 F⁻¹ D_2 Π R_1 F D_1 unitary.

    D = diag(exp(i `phases`)); R = I - 2 v v* / (v* v) for each v of `reflections`; F is the Fourier transform and Π a
    fixed permutation. modReLU(z) = max(0, abs(z) + b) z / abs(z). States and outputs are 2H real units: the real and
    imaginary part of each of the H complex ones side by side. Where b = 0 the gradient norm is the same at every lag.

    Reference: Arjovsky et al. 2016, "Unitary Evolution Recurrent Neural Networks", section 4 and eq. 8.
    """

    kind: Literal["unitary"] = "unitary"

    own_start: ClassVar[frozenset[str]] = frozenset({"weight_hh", "bias_ih", "phases", "reflections", "modrelu_bias"})

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return (2 * self.hidden_size,)

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        H = self.hidden_size
        return {
            "weight_ih": (2 * H, input_size),
            "phases": (3, H),
            "reflections": (2, H, 2),  # real and imaginary part last
            "modrelu_bias": (H,),
        }

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        tensors["phases"].uniform_(-math.pi, math.pi, generator=generator)
        tensors["reflections"].uniform_(-1, 1, generator=generator)
        tensors["modrelu_bias"].zero_()

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        z = self.rotate(w, _complex(states[0])) + _complex(u)  # (B, H)
        h = torch.sgn(z) * F.relu(z.abs() + w.modrelu_bias)
        return (torch.view_as_real(h).flatten(-2),)

    def rotate(self, w: Weights, h: Tensor) -> Tensor:
        """U h for complex rows h, (B, H)."""
        D = torch.polar(torch.ones_like(w.phases), w.phases)  # (3, H)
        v = torch.view_as_complex(w.reflections)  # (2, H)
        h = _reflect(v[0], torch.fft.fft(D[0] * h, norm="ortho"))
        h = torch.fft.ifft(D[1] * h[:, _permutation(self.hidden_size)], norm="ortho")
        return D[2] * _reflect(v[1], h)


def _complex(s: Tensor) -> Tensor:
    """Real and imaginary parts side by side, (B, 2H), to complex units, (B, H)."""
    return torch.view_as_complex(s.unflatten(-1, (-1, 2)).contiguous())


def _reflect(v: Tensor, h: Tensor) -> Tensor:
    """Mirror complex rows h at the plane that v stands on."""
    along = (h * v.conj()).sum(-1, keepdim=True) / v.abs().square().sum()
    return h - 2 * along * v


@cache
def _permutation(size: int) -> Tensor:
    """The same for every layer of this size, so that no weight has to hold it."""
    return torch.randperm(size, generator=torch.Generator().manual_seed(size))
