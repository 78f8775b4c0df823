"""Long expressive memory: two states with time steps that each unit learns to choose."""

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.base import Cell, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class LEMCell(Cell):
    """Δ_z, Δ_h = Δt σ(·); z_t = (1 - Δ_z) z_{t-1} + Δ_z tanh(·); h_t = (1 - Δ_h) h_{t-1} + Δ_h tanh(V x_t + W z_t + b).

    h is the state that the paper calls y. The first three blocks of `weight_hh` multiply h_{t-1}, the last z_t.
    Both states stay within [-1, 1].

    Reference: Rusch et al. 2022, "Long Expressive Memory for Sequence Modeling", eq. 3.
    """

    kind: Literal["lem"] = "lem"
    dt: float = Field(default=1.0, gt=0, le=1)
    """Δt, the longest time step."""

    states: ClassVar[tuple[str, ...]] = ("h", "z")
    time_gates: ClassVar[dict[str, int]] = {"time_z": -1, "time_h": -1}  # a long step forgets
    recurrent_bias: ClassVar[bool] = False

    @property
    def gates(self) -> tuple[str, ...]:
        return ("time_h", "time_z", "z", "h")

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, z = states
        on_h, on_z = w.weight_hh.split([3 * self.hidden_size, self.hidden_size])
        u_h, v_h = u.split([3 * self.hidden_size, self.hidden_size], -1)
        time_h, time_z, v_z = (u_h + F.linear(h, on_h)).chunk(3, -1)
        step_h = self.dt * w.gate("time_h", time_h)
        step_z = self.dt * w.gate("time_z", time_z)
        z = z + step_z * (w.activate("z", v_z) - z)
        h = h + step_h * (w.activate("h", v_h + F.linear(z, on_z)) - h)
        return h, z
