"""Checks of what a recurrent layer is called with, in the words of torch.nn where it has some."""

from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from rnnlab.cells import Cell, States
from rnnlab.common import torch_private
from rnnlab.common.errors import UserError, check_type

INPUT = Tensor | PackedSequence


class ShapeError(UserError, RuntimeError):
    """A tensor that does not fit a layer; torch.nn raises some as ValueError and some as RuntimeError."""


def check_sizes(input_size: int, num_layers: int, steps: int, dropout: float) -> None:
    """Refuse what no layer can be made of.

    Raises:
        UserError: naming the first argument that is wrong.
    """
    for name, value in (("input_size", input_size), ("num_layers", num_layers), ("steps", steps)):
        if not isinstance(value, Integral) or value < 1:
            raise UserError(f"{name} = {value!r} must be a whole number, at least 1")
    if not isinstance(dropout, Real) or not 0 <= dropout <= 1:
        raise UserError(f"dropout = {dropout!r} is a probability: give a number from 0 to 1")


def check_dilation(dilation: object, num_layers: int) -> tuple[int, ...]:
    """Refuse what is no dilation of a stack.

    Args:
        dilation: how many steps back the states are read: one number for all layers, or one for each.
        num_layers: layers of the stack.

    Returns:
        One number for each layer.

    Raises:
        UserError: if it is neither.
    """
    each: tuple[Any, ...] = tuple(dilation) if isinstance(dilation, list | tuple) else (dilation,) * num_layers
    if not each or any(type(d) is not int or d < 1 for d in each):
        raise UserError(
            f"dilation = {dilation!r} is not allowed: give one positive number, or a list of one for each layer"
        )
    if len(each) != num_layers:
        raise UserError(
            f"dilation = {list(each)} has {len(each)} numbers for num_layers = {num_layers}: give one for each layer, "
            "or a single one for all"
        )
    return each


def check_call(input: object, states: States | None, start: object) -> None:
    """Refuse what no layer can be called with.

    Args:
        input: a tensor, or packed sequences.
        states: tensors; none if they start at zero.
        start: absolute time of the first step.

    Raises:
        UserError: if one is something else.
    """
    check_type("input", input, INPUT)
    for state in states or ():
        check_type("hx", state, Tensor)
    if not isinstance(start, int | torch.SymInt) or start < 0:
        raise UserError(f"start = {start!r} is the absolute time of the first step: give a whole number, at least 0")


def check_rank(kind: str, input: Tensor, hx: States | None) -> None:
    """Refuse tensors with the wrong number of dimensions.

    Args:
        kind: name of the class of the layer that is called.
        input: two dimensions for a single sequence, three for a batch.
        hx: states of as many dimensions; none if they start at zero.

    Raises:
        ShapeError: if one does not have them.
    """
    rank = input.dim()
    if rank not in (2, 3):
        raise ShapeError(f"{kind}: Expected input to be 2D or 3D, got {rank}D instead")
    if hx is not None and any(state.dim() != rank for state in hx):
        batched = "batched" if rank == 3 else "unbatched"
        names, found = " and ".join(("hx", "cx")[: len(hx)]), ", ".join(f"{state.dim()}-D" for state in hx)
        tensors = f"{found} tensor" if len(hx) == 1 else f"({found}) tensors"
        raise ShapeError(f"For {batched} {rank}-D input, {names} should also be {rank}-D but got {tensors}")


def is_autocast(device: str) -> bool:
    """Whether autocast is on; the meta device knows none."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def check_input(x: Tensor, hx: States | None, input_size: int, weight: torch.dtype) -> None:
    """Refuse inputs of the wrong size or dtype, and states of another one.

    Args:
        x: (T, B, I).
        hx: the states before the first step, if given.
        input_size: I of the layer.
        weight: dtype of its weights.

    Raises:
        ShapeError: if `x` does not fit the layer.
    """
    if x.dtype != weight and not is_autocast(x.device.type):
        raise ShapeError(
            f"RNN input dtype ({x.dtype}) does not match weight dtype ({weight}). "
            f"Convert input: input.to({weight}), or convert model: model.to({x.dtype})"
        )
    found = [state.dtype for state in hx or ()]
    if any(dtype != x.dtype for dtype in found) and not is_autocast(x.device.type):
        raise ShapeError(
            f"hx dtype ({', '.join(map(str, found))}) does not match input dtype ({x.dtype}). "
            f"Convert every state: state.to({x.dtype})"
        )
    if x.dim() != 3:
        raise ShapeError(f"packed input must have 2 dimensions, got {x.dim() - 1}: pack sequences of feature vectors")
    if x.shape[-1] != input_size:
        raise ShapeError(f"input.size(-1) must be equal to input_size. Expected {input_size}, got {x.shape[-1]}")
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
    T, B = x.shape[:2]
    given = lengths.tolist() if isinstance(lengths, Tensor) else list(lengths)
    if any(isinstance(length, bool) or not isinstance(length, Integral) for length in given):
        raise ShapeError(f"lengths = {given} are numbers of time steps: give whole ones, one for each sequence")
    lengths = torch.tensor(given, dtype=torch.int64)
    if lengths.shape != (B,) or lengths.amin() < 1 or lengths.amax() != T:
        raise ShapeError(
            f"lengths = {lengths.tolist()} do not fit the input: give one for each of its {B} sequences, "
            f"between 1 and {T}, and cut the input to the longest"
        )
    return lengths


def split_states(cell: Cell, hx: States | None, x: Tensor, counts: Sequence[int]) -> list[list[States]]:
    """Take stacked states apart.

    Args:
        cell: the equations.
        hx: (num_layers * directions, B, S) each, or `dilation` times as many; zeros if none.
        x: (T, B, I).
        counts: the dilation of each layer and direction.

    Returns:
        For each layer and direction as many states, (B, S) each, as the layer is dilated.

    Raises:
        ShapeError: if `hx` does not fit the layer.
    """
    B = x.shape[1]
    if hx is None:
        return [[cell.initial_states(B, x)] * count for count in counts]
    if len(hx) != len(cell.states):
        raise ShapeError(
            f"hx has {len(hx)} tensors, but cell '{cell.kind}' has {len(cell.states)} states: "
            f"give {' and '.join(cell.states)}"
        )
    for i, (state, size) in enumerate(zip(hx, cell.state_sizes, strict=True)):
        expected = (sum(counts), B, size)
        if state.shape != expected:
            which = f"[{i}]" if len(hx) > 1 else ""
            raise ShapeError(f"hx: Expected hidden{which} size {expected}, got {list(state.shape)}")
    each = iter(zip(*(_apart(state) for state in hx), strict=True))
    return [[next(each) for _ in range(count)] for count in counts]


def _apart(state: Tensor) -> list[Tensor]:
    """Cut states along the first dimension into tensors that each begin where their memory does.

    What products of matrices come to depends on where their operands begin.
    """
    first, *others = state.unbind(0)
    return [first, *(part.clone() for part in others)]


def is_observable(tensors: Iterable[Tensor]) -> bool:
    """Tell whether a gradient can come back to be seen. Where none can, what the caller gets must stay free of a graph.

    Args:
        tensors: all that a stack reads: inputs, states and weights.

    Raises:
        UserError: if vmap, grad or another transform of torch.func is active, on whose tensors none can be seen.
    """
    if not torch.is_grad_enabled():
        return False
    if torch_private.is_transforming():
        raise UserError(
            "a layer is recorded inside torch.vmap, torch.func.grad or another transform, where its states' gradients "
            "cannot be seen: leave the record or trace block before the transform, and record members one at a time"
        )
    return any(t.requires_grad for t in tensors)
