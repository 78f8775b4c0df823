"""Checks of what a recurrent layer is called with, in the words of torch.nn where it has some."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from rnnlab.cells import Cell, States
from rnnlab.common.errors import UserError

if TYPE_CHECKING:
    from rnnlab.layers.initialization import Initialization
    from rnnlab.layers.recurrent import Recurrent


class ShapeError(UserError, RuntimeError):
    """A tensor that does not fit a layer; torch.nn raises some as ValueError and some as RuntimeError."""


def check_sizes(
    cell: Cell, input_size: int, num_layers: int, bias: bool, dropout: float, init: "Initialization | None"
) -> None:
    """Refuse what no layer can be made of.

    Raises:
        UserError: naming the first argument that is wrong.
    """
    for name, value in (("input_size", input_size), ("num_layers", num_layers)):
        if value < 1:
            raise UserError(f"{name} = {value} must be at least 1")
    if not 0 <= dropout <= 1:
        raise UserError(f"dropout = {dropout} is a probability: give a number from 0 to 1")
    chrono = init is not None and init.bias == "chrono"
    if chrono and next(iter(cell.time_gates), None) not in cell.gates:
        raise UserError(f"init.bias = 'chrono' needs gates that set a time constant, which cell '{cell.kind}' has not")
    if not bias and (chrono or getattr(cell, "forget_bias", None) is not None):
        raise UserError("bias = False leaves nothing that forget_bias or init.bias = 'chrono' could set: drop one")


def check_rank(layer: "Recurrent", input: Tensor, hx: States | None) -> None:
    """Refuse tensors with the wrong number of dimensions.

    Args:
        layer: what is called.
        input: two dimensions for a single sequence, three for a batch.
        hx: states of as many dimensions; none if they start at zero.

    Raises:
        ShapeError: if one does not have them.
    """
    rank = input.dim()
    if rank not in (2, 3):
        raise ShapeError(f"{type(layer).__name__}: Expected input to be 2D or 3D, got {rank}D instead")
    if hx is not None and any(state.dim() != rank for state in hx):
        kind = "batched" if rank == 3 else "unbatched"
        names, found = " and ".join(("hx", "cx")[: len(hx)]), ", ".join(f"{state.dim()}-D" for state in hx)
        tensors = f"{found} tensor" if len(hx) == 1 else f"({found}) tensors"
        raise ShapeError(f"For {kind} {rank}-D input, {names} should also be {rank}-D but got {tensors}")


def is_autocast(device: str) -> bool:
    """Whether autocast is on; the meta device knows none."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def check_input(layer: "Recurrent", x: Tensor) -> None:
    """Refuse inputs of the wrong size or dtype.

    Args:
        layer: what is called.
        x: (T, B, I).

    Raises:
        ShapeError: if `x` does not fit the layer.
    """
    weight = next(layer.parameters()).dtype
    if x.dtype != weight and not is_autocast(x.device.type):
        raise ShapeError(
            f"RNN input dtype ({x.dtype}) does not match weight dtype ({weight}). "
            f"Convert input: input.to({weight}), or convert model: model.to({x.dtype})"
        )
    if x.dim() != 3:
        raise ShapeError(f"packed input must have 2 dimensions, got {x.dim() - 1}: pack sequences of feature vectors")
    if x.shape[-1] != layer.input_size:
        raise ShapeError(f"input.size(-1) must be equal to input_size. Expected {layer.input_size}, got {x.shape[-1]}")
    if len(x) == 0:
        raise ShapeError("input has no time steps: Expected sequence length to be larger than 0 in RNN")


def check_lengths(lengths: Tensor | Sequence[int] | None, x: Tensor) -> Tensor | None:
    """Refuse lengths that are not those of the padded sequences.

    Args:
        lengths: (B,); none when all sequences fill all steps.
        x: (T, B, I).

    Returns:
        The lengths as a tensor.

    Raises:
        ShapeError: if they do not fit.
    """
    if lengths is None:
        return None
    (T, B), lengths = x.shape[:2], torch.as_tensor(lengths)
    if lengths.shape != (B,) or lengths.amin() < 1 or lengths.amax() != T:
        raise ShapeError(
            f"lengths = {lengths.tolist()} do not fit the input: give one for each of its {B} sequences, "
            f"between 1 and {T}, and cut the input to the longest"
        )
    return lengths


def split_states(layer: "Recurrent", hx: States | None, x: Tensor) -> list[list[States]]:
    """Take stacked states apart.

    Args:
        layer: what is called.
        hx: (num_layers * directions, B, S) each, or `dilation` times as many; zeros if none.
        x: (T, B, I).

    Returns:
        For each layer and direction as many states, (B, S) each, as the layer is dilated.

    Raises:
        ShapeError: if `hx` does not fit the layer.
    """
    cell, B = layer.cell, x.shape[1]
    counts = [dilation for dilation in layer.dilation for _ in layer.directions]
    if hx is None:
        return [[cell.initial_states(B, x)] * count for count in counts]
    if len(hx) != len(cell.states):
        raise ShapeError(
            f"hx has {len(hx)} tensors, but {type(layer).__name__} needs {len(cell.states)} states: "
            f"give {' and '.join(cell.states)}"
        )
    for i, (state, size) in enumerate(zip(hx, cell.state_sizes, strict=True)):
        expected = (sum(counts), B, size)
        if state.shape != expected:
            which = f"[{i}]" if len(hx) > 1 else ""
            raise ShapeError(f"hx: Expected hidden{which} size {expected}, got {list(state.shape)}")
    each = iter(zip(*(state.unbind(0) for state in hx), strict=True))
    return [[next(each) for _ in range(count)] for count in counts]


def check_listening() -> None:
    """Refuse to record or trace inside a transform of torch.func, whose tensors cannot be hung a gradient on.

    Raises:
        UserError: if vmap, grad or another one is active.
    """
    if torch._C._are_functorch_transforms_active():
        raise UserError(
            "a layer is recorded inside torch.vmap, torch.func.grad or another transform, where its states' gradients "
            "cannot be seen: leave the record or trace block before the transform, and record members one at a time"
        )
