"""What engines ask of a call before they take it: whether it is plain, and may be read below autograd."""

import functools
import warnings
from collections.abc import Iterable, Set

import torch
from torch import Tensor, nn

from rnnlab.cells import Cell
from rnnlab.common import torch_private


def differs_only_in(cell: Cell, options: Set[str]) -> bool:
    """Whether all options of a cell but these, and what makes no difference without them, have their defaults."""
    fields, free = type(cell).model_fields, {*options, "hidden_size", "norm_gain", "norm_noise"}
    return all(value == fields[name].default for name, value in cell if name not in free)


@functools.cache
def can_tell() -> bool:
    """Whether this torch lets us tell what C code may read; one warning if not."""
    name = torch_private.missing_for_kernels()
    if name is not None:
        warnings.warn(
            f"recurrent layers run on the slower reference path: torch {torch.__version__} has no {name}",
            RuntimeWarning,
            stacklevel=2,
        )
    return name is None


def is_plain(tensors: tuple[Tensor, ...], device: str = "cpu") -> bool:
    """Whether these are tensors that code below autograd may read, in a context that it may be called from."""
    dtype = tensors[0].dtype
    return (
        dtype in (torch.float32, torch.float64)
        and not torch.is_autocast_enabled(device)
        and not torch_private.is_differentiating_forward()
        and all(t.dtype == dtype for t in tensors)
        and (beneath := torch_private.beneath_maps(tensors)) is not None
        and is_readable(beneath, device)
    )


def is_reached(tensors: Iterable[Tensor]) -> bool:
    """Whether a map that is active, if any, goes over one of these: else it is of no use to know."""
    return not torch_private.is_transforming() or torch_private.has_members(tensors)


_OWNERS = (Tensor, nn.Parameter)
"""A class derived from them may keep its values elsewhere, and wants to see every operation."""


def is_readable(tensors: Iterable[Tensor], device: str = "cpu") -> bool:
    """Whether the values of all tensors lie in memory as they are, and nobody follows what is done to them.

    False for batches of gradients and other tensors without storage, lazy negatives and zeros, and inside of modes that
    trace, count or fake operations.
    """
    return not torch_private.is_followed() and all(
        type(t) in _OWNERS
        and t.device.type == device
        and torch_private.has_storage(t)
        and not (t.is_neg() or torch_private.is_unwritten_zero(t))
        for t in tensors
    )
