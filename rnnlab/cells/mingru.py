"""Minimal GRU: gate and new value see the input alone, so that the recurrence is linear in the state."""

from typing import ClassVar, Literal

from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class MinGRUCell(Cell):
    """z = σ(W_z x_t + b_z); h_t = (1 - z) h_{t-1} + z (W_n x_t + b_n).

    Reference: Feng et al. 2024, "Were RNNs All We Needed?", section 3.1.
    """

    kind: Literal["mingru"] = "mingru"

    time_gates: ClassVar[dict[str, int]] = {"update": -1}  # an open gate overwrites
    recurrent_bias: ClassVar[bool] = False

    @property
    def gates(self) -> tuple[str, ...]:
        return ("update", "new")

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes = super().parameter_shapes(input_size, bias)
        del shapes["weight_hh"]
        return shapes

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        z, new = u.chunk(2, -1)
        return (h + w.gate("update", z) * (new - h),)
