"""Recurrent highway network: several gated micro-layers within each time step."""

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class HighwayCell(Cell):
    """s_0 = h_{t-1}; s_l = g_l n_l + c_l s_{l-1} for l = 1 .. `depth`; h_t = the last s.

    Every micro-layer l has n_l = tanh(·), the transform gate g_l = σ(·) and the carry gate c_l = σ(·) of
    R_l s_{l-1} + b_l, the first of them of W x_t + R_1 s_0 + b_1. With `coupled`, c_l = 1 - g_l.
    R_1 is `weight_hh`, R_2 `weight_hh2`, and so on; b_1 is `bias_ih`, b_2 `bias_hh2`.

    Reference: Zilly et al. 2017, "Recurrent Highway Networks", eq. 6 to 9.
    """

    kind: Literal["highway"] = "highway"
    depth: int = Field(default=3, ge=1)
    coupled: bool = True
    transform_bias: float | None = -2.0
    """Bias of the transform gates at the start; none leaves it to `init.bias`."""

    recurrent_bias: ClassVar[bool] = False

    @property
    def gates(self) -> tuple[str, ...]:
        return ("transform", "new") if self.coupled else ("transform", "carry", "new")

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes, rows = super().parameter_shapes(input_size, bias), self.blocks * self.hidden_size
        for layer in range(2, self.depth + 1):
            shapes[f"weight_hh{layer}"] = (rows, self.hidden_size)
            if bias:
                shapes[f"bias_hh{layer}"] = (rows,)
        return shapes

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        if self.transform_bias is not None:
            for name in tensors:
                if name.startswith("bias"):
                    tensors[name][: self.hidden_size] = self.transform_bias

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        (s,) = states
        z = u + F.linear(s, w.weight_hh)
        s = self._micro_layer(w, 1, z, s)
        for layer in range(2, self.depth + 1):
            z = F.linear(s, w.tensors[f"weight_hh{layer}"], w.get(f"bias_hh{layer}"))
            s = self._micro_layer(w, layer, z, s)
        return (s,)

    def _micro_layer(self, w: Weights, layer: int, z: Tensor, s: Tensor) -> Tensor:
        blocks = dict(zip(self.gates, z.chunk(self.blocks, -1), strict=True))
        g = w.gate(f"transform_{layer}", blocks["transform"])
        c = 1 - g if self.coupled else w.gate(f"carry_{layer}", blocks["carry"])
        return g * w.activate(f"new_{layer}", blocks["new"]) + c * s
