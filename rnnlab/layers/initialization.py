"""Starting values of a recurrent layer."""

import math
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from rnnlab.cells import CELLS, Cell
from rnnlab.common.errors import UserError, check_type
from rnnlab.common.options import Options


class Initialization(Options):
    """Starting values of input weights, recurrent weights and biases.

    Matrices of gated cells are filled block by block, so each gate's recurrent block is itself orthogonal
    or the identity.

    Reference: Glorot and Bengio 2010 (glorot); Saxe et al. 2014 (orthogonal); Le et al. 2015 (identity);
    Tallec and Ollivier 2018, section 3 (chrono).
    """

    input: Literal["torch", "glorot", "orthogonal", "gaussian"] = "torch"
    recurrent: Literal["torch", "glorot", "orthogonal", "identity", "gaussian"] = "torch"
    """gaussian draws N(0, 1/n) with n columns, so that a product has the variance of what is multiplied."""
    recurrent_scale: float = Field(default=1.0, gt=0)
    """ρ: the recurrent matrix is multiplied by it."""
    bias: Literal["torch", "zero", "chrono"] = "torch"
    chrono_max: int | None = Field(default=None, ge=3)
    """T_max of the chrono biases ln U(1, T_max - 1); none takes the length of the task."""

    @torch.no_grad()
    def fill(self, cell: Cell, tensors: dict[str, Tensor], generator: torch.Generator | None, steps: int) -> None:
        """Fill one layer's weights in place.

        Args:
            cell: the cell they belong to.
            tensors: the tensors of `cell.parameter_shapes`, by name.
            generator: source of randomness; torch's global one if none.
            steps: length of the task, for chrono.
        """
        bound = 1 / math.sqrt(cell.hidden_size)
        for name, tensor in tensors.items():
            if name in cell.own_start:
                continue
            if name.startswith("norm_gain"):
                tensor.fill_(cell.starting_gain)
            elif name.startswith("norm_shift") or (name.startswith("bias") and self.bias != "torch"):
                tensor.zero_()
            elif tensor.dim() == 1:
                tensor.uniform_(-bound, bound, generator=generator)
            else:
                scheme = self.input if name == "weight_ih" else self.recurrent
                blocks = cell.blocks if len(tensor) == cell.blocks * cell.hidden_size else 1
                for block in tensor.view(blocks, -1, tensor.shape[-1]):
                    _fill_matrix(block, scheme, bound, generator)
                if name.startswith("weight_hh"):
                    tensor.mul_(self.recurrent_scale)
        if self.bias == "chrono":
            _fill_chrono(cell, tensors["bias_ih"], self.chrono_max or steps, generator)
        cell.fill(tensors, generator, steps)


def check_chrono(init: Initialization, cell: Cell, section: str = "") -> None:
    """Refuse chrono biases that a cell has no use for.

    Args:
        init: starting values.
        cell: the cell they are meant for.
        section: what stands before the names of the cell's options where the user writes them, such as `cell.`

    Raises:
        UserError: if the cell has no gate for them, or sets its forget bias itself, or `init` is something else.
    """
    check_type("init", init, Initialization)
    if init.bias != "chrono":
        return
    if not cell.has_time_constant:
        gated = ", ".join(kind for kind, known in CELLS.items() if known.time_gates)
        detail = f" without {next(iter(cell.time_gates))} gate" if cell.time_gates else ""
        raise UserError(
            f"init.bias = 'chrono' needs gates that set a time constant, which {section}kind = '{cell.kind}'{detail} "
            f"has not: choose a cell of {gated}, or init.bias = 'zero'"
        )
    if cell.sets_forget_bias:
        raise UserError(f"{section}forget_bias and init.bias = 'chrono' both set the forget bias: drop one of them")


def _fill_matrix(w: Tensor, scheme: str, bound: float, generator: torch.Generator | None) -> None:
    if scheme == "torch":
        w.uniform_(-bound, bound, generator=generator)
    elif scheme == "glorot":
        nn.init.xavier_uniform_(w, generator=generator)
    elif scheme == "gaussian":
        w.normal_(0, w.shape[-1] ** -0.5, generator=generator)
    elif scheme == "orthogonal":
        nn.init.orthogonal_(w, generator=generator)
    else:
        nn.init.eye_(w)


def _fill_chrono(cell: Cell, bias: Tensor, longest: int, generator: torch.Generator | None) -> None:
    """Spread the gates' time constants over 1 .. T_max; both biases are zero on entry."""
    H = cell.hidden_size
    memory = bias.new_empty(H).uniform_(1, max(longest - 1, 2), generator=generator).log()
    for gate, sign in cell.time_gates.items():
        if gate in cell.gates:
            row = cell.gates.index(gate) * H
            bias[row : row + H] = sign * memory
