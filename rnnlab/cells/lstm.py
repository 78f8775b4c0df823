"""Long short-term memory and its published variants."""

import math
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from pydantic import Field, model_validator
from torch import Tensor

from rnnlab.cells.base import Shapes, States
from rnnlab.cells.normalized import NormalizedCell
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights

PEEPHOLES = {"input": "weight_ci", "forget": "weight_cf", "output": "weight_co"}


@register
class LSTMCell(NormalizedCell):
    """i, f, o = σ(·); g = tanh(·); c_t = f c_{t-1} + i g; h_t = o tanh(c_t).

    Every part can be left out or changed alone; a gate that is left out is always open. `coupled` writes i = 1 - f.
    `peepholes` add w_i c_{t-1}, w_f c_{t-1} and w_o c_t to the gates' pre-activations.
    With `proj_size` P, h_t = W_hr (o tanh c_t) has P units.

    Reference: Hochreiter and Schmidhuber 1997, "Long Short-Term Memory" (no forget gate, f = 1);
    Gers et al. 2000, "Learning to Forget" (with it); Gers and Schmidhuber 2000, "Recurrent Nets that Time and Count"
    (peepholes); Sak et al. 2014, "Long Short-Term Memory Based Recurrent Neural Network Architectures" (projection);
    Greff et al. 2017, "LSTM: A Search Space Odyssey" (the variants compared).
    """

    kind: Literal["lstm"] = "lstm"
    input_gate: bool = True
    forget_gate: bool = True
    output_gate: bool = True
    coupled: bool = False
    """The input gate is what the forget gate leaves, i = 1 - f; f = 1 - i, as Greff et al. write, is the same cell."""
    peepholes: bool = False
    input_activation: bool = True
    """Whether g passes a tanh."""
    output_activation: bool = True
    """Whether c passes a tanh on its way to h."""
    proj_size: int = Field(default=0, ge=0)
    """P, the number of units of h, as in torch.nn.LSTM; 0 for no projection, so that h has as many as c."""
    forget_bias: float | None = None
    """Bias of the forget gate at the start; none leaves it to `init.bias`."""

    states: ClassVar[tuple[str, ...]] = ("h", "c")
    time_gates: ClassVar[dict[str, int]] = {"forget": +1, "input": -1}
    own_start: ClassVar[frozenset[str]] = frozenset(PEEPHOLES.values())
    starting: ClassVar[frozenset[str]] = frozenset({"forget_bias"})

    @model_validator(mode="after")
    def _refuse_impossible_combinations(self) -> Self:
        if self.coupled and not (self.input_gate and self.forget_gate):
            raise ValueError("coupled = true needs both gates: set input_gate and forget_gate to true")
        if self.forget_bias is not None and not self.forget_gate:
            raise ValueError(f"forget_bias = {self.forget_bias} needs a forget gate: set forget_gate to true")
        if self.peepholes and not set(self.gates) & set(PEEPHOLES):
            raise ValueError("peepholes = true needs a gate to look through: keep at least one")
        if self.proj_size >= self.hidden_size:
            raise ValueError(
                f"proj_size = {self.proj_size} must be smaller than hidden_size = {self.hidden_size}; 0 for none"
            )
        return self

    @property
    def sets_forget_bias(self) -> bool:
        return self.forget_bias is not None

    @property
    def gates(self) -> tuple[str, ...]:
        present = {
            "input": self.input_gate and not self.coupled,
            "forget": self.forget_gate,
            "cell": True,
            "output": self.output_gate,
        }
        return tuple(name for name, here in present.items() if here)

    @property
    def projected_size(self) -> int:
        return self.proj_size

    def resized(self, hidden_size: int, projected_size: int) -> Self:
        sizes = {"hidden_size": hidden_size, "proj_size": projected_size if self.proj_size else 0}
        return self.model_copy(update=sizes)

    @property
    def state_sizes(self) -> tuple[int, ...]:
        return self.proj_size or self.hidden_size, self.hidden_size

    @property
    def normalized(self) -> Shapes:
        return super().normalized | {"c": (self.hidden_size,)}

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        shapes = super().parameter_shapes(input_size, bias)
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        if self.peepholes:
            shapes |= {PEEPHOLES[gate]: (self.hidden_size,) for gate in self.gates if gate in PEEPHOLES}
        return shapes

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        bound = 1 / math.sqrt(self.hidden_size)
        for name in PEEPHOLES.values():
            if name in tensors:
                tensors[name].uniform_(-bound, bound, generator=generator)
        if self.forget_bias is not None:
            row = self.gates.index("forget") * self.hidden_size
            tensors["bias_ih"][row : row + self.hidden_size] = self.forget_bias
            tensors["bias_hh"][row : row + self.hidden_size] = 0.0

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        h, c = states
        z = dict(zip(self.gates, (u + self.recur(w, h, t)).chunk(self.blocks, -1), strict=True))
        i, f = self._input_and_forget(w, z, c)  # σ(z_i), σ(z_f)
        g = self._candidate(w, z)  # tanh(z_g)
        c = f * c + i * g
        o = self._gate(w, "output", z, c)  # σ(z_o)
        h = o * self._read(w, c, t)  # o tanh(c)
        return self._projected(w, h), c

    def _input_and_forget(self, w: Weights, z: dict[str, Tensor], c: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """i and f; i = 1 - f where they are coupled."""
        f = self._gate(w, "forget", z, c)
        return 1 - f if self.coupled else self._gate(w, "input", z, c), f

    def _candidate(self, w: Weights, z: dict[str, Tensor]) -> Tensor:
        """g, the new content, without its tanh where that is left out."""
        return w.activate("cell", z["cell"]) if self.input_activation else z["cell"]

    def _read(self, w: Weights, c: Tensor, t: int) -> Tensor:
        """tanh(c), without the tanh where that is left out; c is standardised first where there is a norm."""
        c = self.normalize(w, "c", c, t)
        return w.activate("read", c) if self.output_activation else c

    def _projected(self, w: Weights, h: Tensor) -> Tensor:
        """h, or W_hr h where there is a projection."""
        return F.linear(h, w.weight_hr) if self.proj_size else h

    def _gate(self, w: Weights, name: str, z: dict[str, Tensor], c: Tensor) -> Tensor | float:
        """A gate's value, with its view of the cell state where there are peepholes; 1 where it is left out."""
        if name not in z:
            return 1.0
        return w.gate(name, z[name] + w.tensors[PEEPHOLES[name]] * c if self.peepholes else z[name])
