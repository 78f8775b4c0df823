"""A cell whose input and recurrent products can be normalised."""

from typing import Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes
from rnnlab.cells.normalization import normalize_sequence, normalize_step, statistics_shapes
from rnnlab.cells.weights import Weights


class NormalizedCell(Cell):
    """A cell that brings normalisation to its subclasses through `project` and `recur`."""

    norm: Literal["none", "batch"] = "none"
    """Recurrent batch norm with statistics of their own at every time step (Cooijmans et al. 2017)."""
    norm_gain: float = Field(default=0.1, gt=0)
    """γ at the start; 0.1 keeps the tanh in its linear range."""
    norm_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the hidden state before the first step of a training sequence under batch norm.

    Inputs that are the same in every example, such as the border of an image, leave the state without variance,
    and dividing by none makes the gradient explode; the authors of the method start from noise there.
    """

    @property
    def normalized(self) -> Shapes:
        """What is standardised, and over how many units: the two products, input and recurrent."""
        return {"x": (self.blocks * self.hidden_size,), "h": (self.blocks * self.hidden_size,)}

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes = super().parameter_shapes(input_size, bias)
        if self.norm == "batch":
            shapes |= {f"norm_gain_{what}": size for what, size in self.normalized.items()}
        return shapes

    def buffer_shapes(self, steps: int) -> Shapes:
        return statistics_shapes(self.normalized, steps) if self.norm == "batch" else {}

    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        if self.norm == "none":
            return super().project(w, x, start)
        bias = w.__dict__.get("bias_ih")
        u = normalize_sequence(w, "x", F.linear(x, w.weight_ih), start)
        return u if bias is None else u + bias

    def recur(self, w: Weights, h: Tensor, t: int) -> Tensor:
        if self.norm == "none":
            return super().recur(w, h, t)
        bias = w.__dict__.get("bias_hh")
        v = normalize_step(w, "h", F.linear(h, w.weight_hh), t)
        return v if bias is None else v + bias
