"""Long short-term memory, with or without forget gate."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from rnnlab.cells.base import Shapes, States
from rnnlab.cells.normalization import normalize_step
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class LSTMCell(NormalizedCell):
    """i, f, o = σ(·); g = tanh(·); c_t = f c_{t-1} + i g; h_t = o tanh(c_t).

    Reference: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory" (no forget gate, f = 1);
    Gers et al. 2000, "Learning to Forget" (with it).
    """

    kind: Literal["lstm"] = "lstm"
    forget_gate: bool = True
    forget_bias: float | None = None
    """Bias of the forget gate at the start; none leaves it to `init.bias`."""

    states: ClassVar[tuple[str, ...]] = ("h", "c")
    time_gates: ClassVar[dict[str, int]] = {"forget": +1, "input": -1}

    @property
    def gates(self) -> tuple[str, ...]:
        return ("input", "forget", "cell", "output") if self.forget_gate else ("input", "cell", "output")

    @property
    def normalized(self) -> Shapes:
        return super().normalized | {"c": (self.hidden_size,)}

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes = super().parameter_shapes(input_size, bias)
        return shapes | {"norm_shift_c": (self.hidden_size,)} if self.norm == "batch" else shapes

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        if self.forget_gate and self.forget_bias is not None:
            rows = slice(self.hidden_size, 2 * self.hidden_size)  # the second block
            tensors["bias_ih"][rows] = self.forget_bias
            tensors["bias_hh"][rows] = 0.0

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, c = states
        z = dict(zip(self.gates, (u + self.recur(w, h, t)).chunk(self.blocks, -1), strict=True))
        i, o = w.gate("input", z["input"]), w.gate("output", z["output"])
        g = w.activate("cell", z["cell"])
        c = (w.gate("forget", z["forget"]) * c if self.forget_gate else c) + i * g
        read = normalize_step(w, "c", c, t) if self.norm == "batch" else c
        return o * torch.tanh(read), c
