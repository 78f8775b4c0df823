"""A scan under `torch.vmap`: the members of its dimension run side by side in one call."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NoReturn

import torch
from torch import Tensor

from rnnlab.cells import Cell, MemberWeights, States, Weights
from rnnlab.common import torch_private

MemberScan = Callable[[MemberWeights, Tensor, Sequence[States], Sequence[Cell]], tuple[Tensor, list[States]]]
"""A scan of stacked members: of their weights, inputs, first states and cells."""


def scan_mapped(
    run: MemberScan, cell: Cell, w: Weights, x: Tensor, history: Sequence[States]
) -> tuple[Tensor, list[States]]:
    """Run a cell on tensors of which some have members that `torch.vmap` hides.

    Args:
        run: a scan of stacked members.
        cell: the equations.
        w: the layer's weights.
        x: (T, B, I).
        history: the states before the first step, (B, S) each.
    """
    names, width = list(w.tensors), len(cell.states)

    def scan(*tensors: Tensor) -> tuple[Tensor, ...]:
        x, weights, starts = tensors[0], tensors[1 : 1 + len(names)], tensors[1 + len(names) :]
        own = MemberWeights(dict(zip(names, weights, strict=True)), w.training, w.sizes)
        before = [tuple(starts[i : i + width]) for i in range(0, len(starts), width)]
        y, after = run(own, x, before, (cell,) * len(x))
        return y, *(s for states in after for s in states)

    states = [s for each in history for s in each]
    y, *ends = _Mapped.apply(scan, 0, x, *w.tensors.values(), *states)
    return y, [tuple(ends[i : i + width]) for i in range(0, len(ends), width)]


class _Mapped(torch.autograd.Function):
    """A function of stacked members, called from within one map or several."""

    @staticmethod
    def forward(function: Callable[..., tuple[Tensor, ...]], maps: int, *tensors: Tensor) -> NoReturn:  # type: ignore[override]
        raise AssertionError("some tensor has members")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        pass

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """Put the mapped dimension first and join it with that of inner maps."""
        (function, maps, *tensors), P, stacked = args, info.batch_size, []
        for t, dim in zip(tensors, in_dims[2:], strict=True):
            t = t.expand(P, *t.shape) if dim is None else t.movedim(dim, 0)
            stacked.append(t.flatten(0, 1) if maps else t)
        again = partial(_Mapped.apply, function, 1) if torch_private.is_transforming() else function
        outputs = again(*stacked)
        return tuple(t.unflatten(0, (P, -1)) for t in outputs) if maps else outputs, (0,) * len(outputs)
