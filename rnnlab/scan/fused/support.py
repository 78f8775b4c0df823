"""Which calls torch's fused layers can take."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.gru import GRUCell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.vanilla import VanillaCell
from rnnlab.common import torch_private
from rnnlab.scan.engines import can_tell, differs_only_in, is_plain

SERVED: dict[type[Cell], frozenset[str]] = {
    VanillaCell: frozenset({"activation"}),
    LSTMCell: frozenset({"proj_size", "forget_bias"}),
    GRUCell: frozenset(),
}
"""The cells that torch fuses, and the options that may differ from their defaults."""


def supports(cell: Cell, w: Weights, x: Tensor, history: Sequence[States], members: Sequence[Cell] = ()) -> bool:
    """Tell whether `run` can take this call, on any device.

    Args:
        cell: any cell.
        w: its weights; where probes listen inside the step only the reference scan will do.
        x: (T, B, I).
        history: the states before the first step; a layer that is dilated has more than one.
        members: cells of stacked members, which torch's layers do not know.
    """
    return (
        not torch.compiler.is_compiling()  # first: a compiler that follows this function need not look further
        and x.device.type in ("cpu", "cuda")
        and not members
        and len(history) == 1
        and serves(cell)
        and w.gates is None
        and x.numel() > 0
        and (w.sizes is None or w.sizes[0] == x.shape[1])  # what torch packs has at least one step
        and can_tell()
        and not torch_private.is_transforming()
        and is_plain((x, *w.tensors.values(), *history[0]), x.device.type)
    )


def pays(w: Weights, x: Tensor) -> bool:
    """Tell whether this is the fastest way: on a GPU, where no kernels of ours run."""
    del w
    return x.is_cuda


def serves(cell: Cell) -> bool:
    """Tell whether torch fuses a cell with these options."""
    known = type(cell) in SERVED and differs_only_in(cell, SERVED[type(cell)])
    return known and not (isinstance(cell, VanillaCell) and cell.activation not in ("tanh", "relu"))
