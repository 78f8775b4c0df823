"""Scalar LSTM of the xLSTM: an exponential input gate, and a mean over the past in place of a sum."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells.base import Cell, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class SLSTMCell(Cell):
    """i = exp(·); f, o = σ(·); z = tanh(·); s_t = f s_{t-1} + i z; N_t = f N_{t-1} + i; h_t = o s_t / N_t.

    A later input can outweigh all that came before, however far the forget gate is open. The states are c = s/N, the
    mean that is read, and n = ln N, so that c_t = c_{t-1} + p (z - c_{t-1}) with p = i/N_t = σ(ln i - ln f - n_{t-1}),
    which probes see as the input gate. No exponential can overflow, and the stabiliser m of the paper is not needed: it
    cancels in h, and what it would scale, the gradient of s, would depend on it. One head: every unit reads all others.
    Zoneout leaves n alone.

    Reference: Beck et al. 2024, "xLSTM: Extended Long Short-Term Memory", section 2.2.
    """

    kind: Literal["slstm"] = "slstm"

    states: ClassVar[tuple[str, ...]] = ("h", "c", "n")
    copies: ClassVar[frozenset[str]] = frozenset({"n"})
    time_gates: ClassVar[dict[str, int]] = {"forget": +1}  # a constant factor of i cancels in s / N
    recurrent_bias: ClassVar[bool] = False

    @property
    def gates(self) -> tuple[str, ...]:
        return ("input", "forget", "new", "output")

    def initial_states(self, batch_size: int, like: Tensor) -> States:
        h, c, n = super().initial_states(batch_size, like)
        return h, c, n - torch.inf  # N = 0: nothing has been read

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, c, n = states
        log_i, z_f, z_n, z_o = (u + self.recur(w, h, t)).chunk(4, -1)
        w.gate("forget", z_f)  # as probes see it; what is needed is its logarithm, -softplus(-z_f)
        share = log_i + F.softplus(-z_f) - n
        c = c + w.gate("input", share) * (w.activate("new", z_n) - c)
        return w.gate("output", z_o) * c, c, log_i + F.softplus(-share)
