"""What a recurrent cell is: named states, an input projection over all time, and one step of its equations."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.normalization import normalize_sequence, normalize_step, statistics_shapes
from rnnlab.options import Options

States = tuple[Tensor, ...]
Shapes = dict[str, tuple[int, ...]]


class Weights:
    """The tensors of one layer as its cell reads them, `w.weight_hh`, and whether they are being trained."""

    def __init__(self, tensors: Mapping[str, Tensor], training: bool) -> None:
        self.__dict__.update(tensors)
        self.training = training

    def __getattr__(self, name: str) -> Tensor:
        raise AttributeError(f"this layer has no weight '{name}'")


class Cell(Options, ABC):
    """One recurrent cell: a configuration value that holds equations and no tensors.

    Its weights live in the layer and are handed in, so that they keep torch's names and the same cell
    serves any number of layers. A new cell names its gate blocks and writes `step`; `project`, `recur`
    and `normalize` bring bias and batch norm to it for nothing.
    """

    kind: Any  # narrowed to its own literal by every subclass
    hidden_size: int = Field(default=64, ge=1)
    norm: Literal["none", "batch"] = "none"
    """Recurrent batch norm with statistics of their own at every time step (Cooijmans et al. 2017)."""
    norm_gain: float = Field(default=0.1, gt=0)
    """γ at the start; 0.1 keeps the tanh in its linear range."""
    norm_noise: float = Field(default=0.0, ge=0)
    """Standard deviation of the hidden state before the first step of a training sequence under batch norm.

    Inputs that are the same in every example, such as the border of an image, leave the state without variance,
    and dividing by none makes the gradient explode; the authors of the method start from noise there.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)
    time_gates: ClassVar[dict[str, int]] = {}
    """Gates that set the time constant, and the sign with which chrono biases them."""

    @property
    def gates(self) -> tuple[str, ...]:
        """Gate blocks in the order of the rows of the weights; empty for a cell without gates."""
        return ()

    @property
    def blocks(self) -> int:
        """G, the number of blocks of `hidden_size` rows in the weights."""
        return max(1, len(self.gates))

    @property
    def normalized(self) -> Shapes:
        """What batch norm standardises, and over how many units: the two products, input and recurrent."""
        return {"x": (self.blocks * self.hidden_size,), "h": (self.blocks * self.hidden_size,)}

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        """Name and shape of every trained tensor, in torch.nn's order.

        Args:
            input_size: I.
            bias: whether the two bias vectors exist.

        Returns:
            For example `{"weight_ih": (G*H, I), "weight_hh": (G*H, H), "bias_ih": (G*H,), ...}`.
        """
        rows = self.blocks * self.hidden_size
        shapes: Shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, self.hidden_size)}
        if bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.norm == "batch":
            shapes |= {f"norm_gain_{what}": size for what, size in self.normalized.items()}
        return shapes

    def buffer_shapes(self, steps: int) -> Shapes:
        """Name and shape of every tensor that is kept but not trained.

        Args:
            steps: the number of time steps that get batch-norm statistics of their own.

        Returns:
            Running mean and variance of everything normalised, (steps, size).
        """
        return statistics_shapes(self.normalized, steps) if self.norm == "batch" else {}

    def initial_states(self, batch_size: int, like: Tensor) -> States:
        """Zeros, (B, H) for each state, with the dtype and device of `like`."""
        return tuple(like.new_zeros(batch_size, self.hidden_size) for _ in self.states)

    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        """Map the whole input sequence at once.

        Args:
            w: the layer's weights.
            x: (T, B, I).
            start: absolute time of the first step.

        Returns:
            (T, B, G*H), one slice a step.
        """
        bias = w.__dict__.get("bias_ih")
        if self.norm == "none":
            return F.linear(x, w.weight_ih, bias)
        u = normalize_sequence(w, "x", F.linear(x, w.weight_ih), start)
        return u if bias is None else u + bias

    def recur(self, w: Weights, h: Tensor, t: int) -> Tensor:
        """Map the previous hidden state, normalised at step `t` where the cell asks for it.

        Returns:
            (B, G*H).
        """
        bias = w.__dict__.get("bias_hh")
        if self.norm == "none":
            return F.linear(h, w.weight_hh, bias)
        v = normalize_step(w, "h", F.linear(h, w.weight_hh), t)
        return v if bias is None else v + bias

    @abstractmethod
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        """Advance the states by one time step.

        Args:
            w: the layer's weights.
            u: (B, G*H), this step's slice of `project`.
            states: the previous states, (B, H) each.
            t: absolute time, which only statistics kept per time step look at.

        Returns:
            The new states, the output first.
        """
