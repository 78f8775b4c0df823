"""Long short-term memory, with or without forget gate."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States, Weights
from rnnlab.cells.normalization import normalize_step
from rnnlab.cells.registry import register


@register
class LSTMCell(Cell):
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

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, c = states
        z = u + self.recur(w, h, t)
        if self.forget_gate:
            i, f, g, o = z.chunk(4, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        else:
            i, g, o = z.chunk(3, -1)
            c = c + i.sigmoid() * g.tanh()
        read = normalize_step(w, "c", c, t) if self.norm == "batch" else c
        return o.sigmoid() * torch.tanh(read), c
