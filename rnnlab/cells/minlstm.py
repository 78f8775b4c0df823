"""Minimal LSTM: gates and new value see the input alone, so that the recurrence is linear in the state."""

from typing import ClassVar, Literal

from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class MinLSTMCell(Cell):
    """f = σ(W_f x_t + b_f); i = σ(W_i x_t + b_i); h_t = (f h_{t-1} + i (W_n x_t + b_n)) / (f + i).

    The division makes h_t a mean of the old and the new value, so that its size does not depend on time.

    Reference: Feng et al. 2024, "Were RNNs All We Needed?", section 3.2.
    """

    kind: Literal["minlstm"] = "minlstm"

    time_gates: ClassVar[dict[str, int]] = {"forget": +1, "input": -1}
    recurrent_bias: ClassVar[bool] = False

    @property
    def gates(self) -> tuple[str, ...]:
        return ("forget", "input", "new")

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes = super().parameter_shapes(input_size, bias)
        del shapes["weight_hh"]
        return shapes

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        z_f, z_i, new = u.chunk(3, -1)
        f, i = w.gate("forget", z_f), w.gate("input", z_i)
        return ((f * h + i * new) / (f + i),)
