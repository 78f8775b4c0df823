"""Minimal gated unit."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells.base import Cell, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class MGUCell(Cell):
    """f = σ(W_f x_t + U_f h_{t-1} + b_f); n = tanh(W_n x_t + U_n (f h_{t-1}) + b_n); h_t = (1 - f) h_{t-1} + f n.

    One gate both forgets and resets.

    Reference: Zhou et al. 2016, "Minimal Gated Unit for Recurrent Neural Networks", section 3.
    """

    kind: Literal["mgu"] = "mgu"

    time_gates: ClassVar[dict[str, int]] = {"forget": -1}  # an open gate forgets, so chrono biases it downwards
    recurrent_bias: ClassVar[bool] = False

    @property
    def gates(self) -> tuple[str, ...]:
        return ("forget", "new")

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        u_f, u_n = u.chunk(2, -1)  # (B, H) each
        U_f, U_n = w.weight_hh.chunk(2)  # (H, H) each
        f = w.gate("forget", u_f + F.linear(h, U_f))
        n = w.activate("new", u_n + F.linear(f * h, U_n))
        return (h + f * (n - h),)
