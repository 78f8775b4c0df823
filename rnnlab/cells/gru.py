"""Gated recurrent unit."""

from typing import ClassVar, Literal

from torch import Tensor

from rnnlab.cells.base import States
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class GRUCell(NormalizedCell):
    """r, z = σ(·); n = tanh(W_in x + b_in + r (W_hn h + b_hn)); h_t = (1 - z) n + z h_{t-1}.

    The reset gate acts after the product, as in torch.nn.GRU.

    Reference: Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder", eq. 5 to 8.
    """

    kind: Literal["gru"] = "gru"

    time_gates: ClassVar[dict[str, int]] = {"update": +1}

    @property
    def gates(self) -> tuple[str, ...]:
        return ("reset", "update", "new")

    @property
    def norm_groups(self) -> tuple[int, ...]:
        return 2, 1  # the two gates together and the new state by itself, as Ba et al. do

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (h,) = states
        u_r, u_z, u_n = u.chunk(3, -1)
        v_r, v_z, v_n = self.recur(w, h, t).chunk(3, -1)
        r = w.gate("reset", u_r + v_r)
        z = w.gate("update", u_z + v_z)
        n = w.activate("new", u_n + r * v_n)
        return (n + z * (h - n),)
