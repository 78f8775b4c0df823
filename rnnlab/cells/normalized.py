"""A cell whose input and recurrent products can be normalised."""

from typing import Literal, Self

import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from rnnlab.cells.base import Cell, Shapes
from rnnlab.cells.normalization import (
    normalize_rows,
    normalize_sequence,
    normalize_step,
    normalize_units,
    statistics_shapes,
)
from rnnlab.cells.weights import Weights


class NormalizedCell(Cell):
    """A cell that brings normalisation to its subclasses through `project`, `recur` and `normalize`."""

    norm: Literal["none", "batch", "batch_sum", "batch_input", "layer"] = "none"
    """Which products are standardised before the cell's bias is added, and over what.

    batch: both, at every step over the batch, with statistics of that step alone (Cooijmans et al. 2017). A step at
    which a single example is still active is standardised by its running statistics.
    batch_sum: the same of the sum of both products, by one norm, as in the authors' figure of the gradient.
    batch_input: the input product, over all steps and examples at once (Laurent et al. 2016).
    layer: both, over the units of every example (Ba et al. 2016; the vanilla cell there normalises their sum).
    """
    norm_gain: float | None = Field(default=None, gt=0)
    """γ at the start; none is 0.1 for batch, which keeps the tanh in its linear range, and 1 for the others."""
    norm_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the hidden state before the first step of a training sequence under batch norm.

    Inputs that are the same in every example, such as the border of an image, leave the state without variance,
    and dividing by none makes the gradient explode; the authors of the method start from noise there.
    """

    @model_validator(mode="after")
    def _refuse_impossible_norms(self) -> Self:
        if self.norm_noise and not self.couples_examples:
            raise ValueError(f"norm_noise = {self.norm_noise} is for norm = 'batch': set it to 0")
        if self.norm == "batch_sum" and not self.adds_products:
            raise ValueError("norm = 'batch_sum' is for cells that read the sum of both products: choose 'batch'")
        return self

    @property
    def normalized(self) -> Shapes:
        """What can be standardised, and over how many units: the two products, input and recurrent.

        A cell that adds a quantity passes it through `normalize`; the quantity then has a shift of its own.
        """
        return {"x": (self.blocks * self.hidden_size,), "h": (self.blocks * self.hidden_size,)}

    @property
    def norm_groups(self) -> tuple[int, ...]:
        """How many blocks of the two products layer norm standardises together."""
        return (self.blocks,)

    @property
    def is_normalized(self) -> bool:
        return self.norm != "none"

    @property
    def couples_examples(self) -> bool:
        return self.norm in ("batch", "batch_sum")

    @property
    def couples_inputs(self) -> bool:
        return self.norm == "batch_input"

    @property
    def starting_noise(self) -> float:
        return self.norm_noise

    @property
    def starting_gain(self) -> float:
        return self.norm_gain or (0.1 if self.couples_examples else 1.0)

    @property
    def _standardised(self) -> Shapes:
        """What the chosen norm standardises."""
        if self.norm == "none":
            return {}
        if self.norm == "batch_sum":
            return {"z": self.normalized["x"]}
        return {"x": self.normalized["x"]} if self.norm == "batch_input" else self.normalized

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes, normalized = super().parameter_shapes(input_size, bias), self._standardised
        shapes |= {f"norm_gain_{what}": size for what, size in normalized.items()}
        return shapes | {f"norm_shift_{what}": size for what, size in normalized.items() if what not in "xhz"}

    def buffer_shapes(self, steps: int) -> Shapes:
        if self.couples_examples:
            return statistics_shapes(self._standardised, (steps,))
        return statistics_shapes(self._standardised) if self.norm == "batch_input" else {}

    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        if self.norm == "none":
            return super().project(w, x, start)
        v, bias = F.linear(x, w.weight_ih), w.get("bias_ih")
        if self.norm == "batch_sum":
            return v
        if self.norm == "batch":
            u = normalize_sequence(w, "x", v, start)
        else:
            u = normalize_rows(w, "x", v) if self.norm == "batch_input" else self.normalize(w, "x", v, start)
        return u if bias is None else u + bias

    def recur(self, w: Weights, h: Tensor, t: int) -> Tensor:
        if self.norm == "none":
            return super().recur(w, h, t)
        v, bias = self.normalize(w, "h", F.linear(h, w.weight_hh), t), w.get("bias_hh")
        return v if bias is None else v + bias

    def combine(self, w: Weights, u: Tensor, h: Tensor, t: int) -> Tensor:
        """Pre-activation of a step that adds both products: (B, G*H) from (B, G*H) and (B, H)."""
        if self.norm != "batch_sum":
            return u + self.recur(w, h, t)
        z = self.normalize(w, "z", u + F.linear(h, w.weight_hh), t)
        return z + sum(bias for name in ("bias_ih", "bias_hh") if (bias := w.get(name)) is not None)

    def normalize(self, w: Weights, what: str, v: Tensor, t: int) -> Tensor:
        """Standardise what a step computes; a norm that leaves it alone hands it back.

        Args:
            w: the layer's weights.
            what: which quantity, a key of `normalized`.
            v: (B, F) values.
            t: absolute time.

        Returns:
            (B, F).
        """
        if self.couples_examples:
            return normalize_step(w, what, v, t)
        if self.norm == "layer":
            blocks = self.norm_groups if what in ("x", "h") else (1,)
            return normalize_units(w, what, v, [n * self.hidden_size for n in blocks])
        return v
