"""Which calls the compiled kernels can take: their cells, and tensors whose memory lies behind an address."""

import functools
import warnings
from collections.abc import Callable, Iterable, Sequence, Set

import torch
from torch import Tensor, nn

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.vanilla import VanillaCell
from rnnlab.common import torch_private
from rnnlab.scan.native import kernels
from rnnlab.scan.native.build import has_compiler, is_compiled, load

SERVED: dict[type[Cell], set[str]] = {
    VanillaCell: {"activation", "residual"},
    LSTMCell: {"forget_gate", "forget_bias"},
    GRUCell: set(),
}
"""The cells that the kernels know, and the options that may differ from their defaults."""


def supports(cell: Cell, w: Weights, x: Tensor, history: Sequence[States], members: Sequence[Cell] = ()) -> bool:
    """Tell whether `run` can take this call.

    Args:
        cell: any cell.
        w: its weights; where probes listen inside the step only the reference scan will do.
        x: (T, B, I).
        history: the states before the first step; a layer that is dilated has more than one.
        members: cells of stacked members, whose tensors have a dimension P before all others.
    """
    return (
        not torch.compiler.is_compiling()  # first: a compiler that follows this function need not look further
        and len(history) == 1
        and serves(cell)
        and all(serves(each) for each in members)
        and w.gates is None
        and can_tell()
        and is_plain((x, *w.tensors.values(), *history[0]))
        and is_reached((x, *w.tensors.values(), *history[0]))
        and load() is not None
    )


def prepare(cell: Cell, say: Callable[[str], object] | None = None) -> None:
    """Load the kernels, so that their compiling counts in no measurement.

    Args:
        cell: one that they serve.
        say: told in one line that they have to be compiled, which takes some seconds, once a machine.
    """
    if say is not None and not is_compiled() and has_compiler():
        say("compiling kernels, once")
    load()


def pays(w: Weights, x: Tensor) -> bool:
    """Tell whether a call has steps enough to earn back what the kernels do once: bring all weights in their order.

    Each step of the reference costs as many operations of torch, and the way back adds to the gradients of all weights.
    The larger the layer and the fewer its examples, the more steps it takes. Constants: `python -m benchmarks.steps`.

    Args:
        w: the layer's weights.
        x: (T, B, I).
    """
    (T, B, I), (rows, H) = x.shape[-3:], w.weight_hh.shape[-2:]
    most = max(3, (6 if torch.is_grad_enabled() else 24) / max(B, 1))
    few = 3 if rows == H else 2  # without gates a step has less to it
    needed = max(few, (H + I) * min(1 / 64, most / H))
    return needed <= T


def serves(cell: Cell) -> bool:
    """Tell whether the kernels know a cell with these options."""
    return _is_served(cell)  # type: ignore[arg-type]  # frozen values have a hash


@functools.cache
def _is_served(cell: Cell) -> bool:
    if type(cell) not in SERVED or (isinstance(cell, VanillaCell) and cell.activation not in kernels.ACTIVATIONS):
        return False
    return differs_only_in(cell, SERVED[type(cell)])


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
