"""Which calls the compiled kernels can take: their cells, and tensors whose memory lies behind an address."""

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.vanilla import VanillaCell
from rnnlab.scan.engines import can_tell, differs_only_in, is_plain, is_reached
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
