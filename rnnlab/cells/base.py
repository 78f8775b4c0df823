"""What a recurrent cell is: named states, an input projection over all time, and one step of its equations."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from rnnlab.cells.weights import Weights
from rnnlab.common.errors import UserError
from rnnlab.common.options import Options

if TYPE_CHECKING:
    from torch import nn

States = tuple[Tensor, ...]
Shapes = dict[str, tuple[int, ...]]


class Cell(Options, ABC):
    """One recurrent cell: a configuration value that holds equations and no tensors.

    Its weights live in the layer and are handed in, so that they keep torch's names and the same cell
    serves any number of layers. A new cell names its gate blocks and writes `step`; everything else here has
    a default that fits a cell built from W_ih x + b_ih + W_hh h + b_hh.
    """

    kind: Any  # narrowed to its own literal by every subclass
    hidden_size: int = Field(default=64, ge=1)
    zoneout: float = Field(default=0.0, ge=0, lt=1)
    """Probability that a unit keeps its old value at a step of training; evaluation uses the expectation.

    Reference: Krueger et al. 2017, "Zoneout: Regularizing RNNs by Randomly Preserving Hidden Activations", eq. 2 to 4.
    """

    states: ClassVar[tuple[str, ...]] = ("h",)
    copies: ClassVar[frozenset[str]] = frozenset()
    """States that only hold what others were before; zoneout leaves them alone."""
    time_gates: ClassVar[dict[str, int]] = {}
    """Gates that set the time constant, and the sign with which chrono biases them.

    The first acts on the old state: a variant without it has no time constant. The others may be left out.
    """
    recurrent_bias: ClassVar[bool] = True
    """Whether the recurrent product has a bias of its own, as in torch.nn; equations with a single bias say no."""
    adds_products: ClassVar[bool] = False
    """Whether a step reads the sum of the two products alone, one W_hh times the one state among them."""
    own_start: ClassVar[frozenset[str]] = frozenset()
    """Weights that the cell fills itself in `fill`, because its equations prescribe how; `init` leaves them alone."""
    starting: ClassVar[frozenset[str]] = frozenset()
    """Options that only say where weights start."""

    @property
    def gates(self) -> tuple[str, ...]:
        """Gate blocks in the order of the rows of the weights; empty for a cell without gates."""
        return ()

    @property
    def blocks(self) -> int:
        """G, the number of blocks of `hidden_size` rows in the weights."""
        return max(1, len(self.gates))

    @property
    def has_time_constant(self) -> bool:
        """Whether a gate acts on the old state, so that chrono biases have something to set."""
        return next(iter(self.time_gates), None) in self.gates

    @property
    def sets_forget_bias(self) -> bool:
        """Whether an option of the cell says how the bias of its forget gate starts."""
        return False

    @property
    def is_normalized(self) -> bool:
        """Whether pre-activations are standardised."""
        return False

    @property
    def couples_examples(self) -> bool:
        """Whether a step in training mixes the examples of its batch, by statistics that are its own afterwards."""
        return False

    @property
    def couples_inputs(self) -> bool:
        """Whether `project` in training mixes all examples and steps."""
        return False

    @property
    def is_repeatable(self) -> bool:
        """Whether a step that is taken again gives the same and leaves nothing behind."""
        return not (self.zoneout or self.couples_examples or self.couples_inputs)

    def check_repeatable(self, what: str) -> None:
        """Refuse what takes steps again where that would change something.

        Args:
            what: the option, as the user knows it.

        Raises:
            UserError: if a step cannot be taken again.
        """
        if not self.is_repeatable:
            raise UserError(
                f"{what} takes steps again, which zoneout and batch norm do not allow: leave it out, or leave those "
                "out of the cell"
            )

    @property
    def starting_gain(self) -> float:
        """γ at the start, of what is standardised."""
        return 1.0

    @property
    def starting_noise(self) -> float:
        """Standard deviation of the hidden state before the first step of a training sequence."""
        return 0.0

    @property
    def state_sizes(self) -> tuple[int, ...]:
        """Number of units of each state, in the order of `states`."""
        return (self.hidden_size,) * len(self.states)

    @property
    def output_size(self) -> int:
        """Number of outputs a step: those of `emit`."""
        return self.state_sizes[0]

    @property
    def emits_state(self) -> bool:
        """Whether an output is the first state as it is."""
        return type(self).emit is Cell.emit

    @property
    def projected_size(self) -> int:
        """P, the number of units that the hidden state is projected to; 0 without projection."""
        return 0

    def resized(self, hidden_size: int, projected_size: int) -> Self:
        """The same equations at other sizes, which nobody checks; P is for cells with a projection."""
        del projected_size
        return self.model_copy(update={"hidden_size": hidden_size})

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        """Name and shape of every trained tensor, in torch.nn's order.

        Args:
            input_size: I.
            bias: whether biases exist.

        Returns:
            For example `{"weight_ih": (G*H, I), "weight_hh": (G*H, H), "bias_ih": (G*H,), ...}`.
        """
        rows = self.blocks * self.hidden_size
        shapes: Shapes = {"weight_ih": (rows, input_size), "weight_hh": (rows, self.state_sizes[0])}
        if bias:
            shapes["bias_ih"] = (rows,)
            if self.recurrent_bias:
                shapes["bias_hh"] = (rows,)
        return shapes

    def buffer_shapes(self, steps: int) -> Shapes:
        """Name and shape of every tensor that is kept but not trained.

        Args:
            steps: the number of time steps that get statistics of their own, where a cell keeps some.
        """
        del steps
        return {}

    def fill(self, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        """Set starting values, in place, that the equations prescribe, after `init` has filled the rest.

        Args:
            tensors: the tensors of `parameter_shapes`, by name.
            generator: source of randomness; torch's global one if none.
            steps: length of the task.
        """

    def parametrize(self, layer: "nn.Module", suffix: str, steps: int) -> None:
        """Constrain weights of a new layer, such as to orthogonal matrices, with torch's parametrisations.

        Args:
            layer: the layer that holds the weights.
            suffix: what follows the weight's name there, such as `_l0_reverse`.
            steps: length of the task.
        """

    def initial_states(self, batch_size: int, like: Tensor) -> States:
        """Zeros, (B, S) for each state, with the dtype and device of `like`."""
        return tuple(like.new_zeros(batch_size, size) for size in self.state_sizes)

    def project(self, w: Weights, x: Tensor, start: int = 0) -> Tensor:
        """Map the whole input sequence at once.

        Args:
            w: the layer's weights.
            x: (T, B, I).
            start: absolute time of the first step.

        Returns:
            (T, B, G*H), one slice a step.
        """
        del start
        return F.linear(x, w.weight_ih, w.get("bias_ih"))

    def recur(self, w: Weights, h: Tensor, t: int) -> Tensor:
        """Map the previous hidden state, (B, H) to (B, G*H)."""
        del t
        return F.linear(h, w.weight_hh, w.get("bias_hh"))

    @abstractmethod
    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        """Advance the states by one time step.

        Args:
            w: the layer's weights.
            u: (B, G*H), this step's slice of `project`.
            states: the previous states, (B, S) each.
            t: absolute time, which only statistics kept per time step look at.

        Returns:
            The new states, the one that is handed on first.
        """

    def advance(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        """One step as a scan takes it: the equations, then zoneout where asked for."""
        new = self.step(w, u, states, t)
        return self.zone_out(w, states, new) if self.zoneout else new

    def zone_out(self, w: Weights, old: States, new: States) -> States:
        """Let units keep their old values: each at random in training, in the mean otherwise."""
        each = zip(self.states, old, new, strict=True)
        return tuple(now if name in self.copies else self._keep(w, then, now) for name, then, now in each)

    def _keep(self, w: Weights, old: Tensor, new: Tensor) -> Tensor:
        if not w.training:
            return new + self.zoneout * (old - new)
        return torch.where(w.uniform(new) < self.zoneout, old, new)

    def emit(self, w: Weights, h: Tensor, x: Tensor) -> Tensor:
        """Map the whole sequence of first states to outputs at once.

        Args:
            w: the layer's weights.
            h: (T, B, S) the first state at every step.
            x: (T, B, I) the inputs, for cells with a direct path from them.

        Returns:
            (T, B, output_size).
        """
        del w, x
        return h
