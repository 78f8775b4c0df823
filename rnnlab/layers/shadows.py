"""The shadows of what goes between the layers of a stack, and from one call of it to the next."""

from collections.abc import MutableMapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from rnnlab.cells import Cell, States
from rnnlab.common import torch_private
from rnnlab.layers.checks import split_states
from rnnlab.scan.order import Order
from rnnlab.scan.shadow import Shadows, entering, joined

_handed_on: MutableMapping[Tensor, tuple[Any, Tensor]] = WeakTensorKeyDictionary()


class StackShadows:
    """Does to shadows what a stack does to the tensors between its layers, for as long as somebody observes.

    Args:
        cell: the equations.
        hx: the states before the first step as the user gave them; none for zeros.
        x: (T, B, I).
        counts: the dilation of each layer and direction.
    """

    def __init__(self, cell: Cell, hx: States | None, x: Tensor, counts: Sequence[int]) -> None:
        found = tuple(shadow for shadow in map(_shadow_of_states, hx or ()) if shadow is not None)
        self._carried = split_states(cell, found, x, counts) if hx and len(found) == len(hx) else None
        self._x: Tensor | None = None
        self._finals: list[Sequence[Tensor | None]] = []
        self._scans: list[tuple[Shadows, Order]] = []
        self._past_the_top = False

    def of(self, number: int, order: Order) -> Shadows:
        """Those of the next scan, which is that of this layer and direction, in its own order."""
        starts = self._carried[number][0] if self._carried else ()
        own = Shadows(None if self._x is None else order.read(self._x), [order.read_state(s) for s in starts])
        self._scans.append((own, order))
        return own

    def drop(self, kept: Tensor) -> None:
        """Scale what goes to the next layer, as dropout does."""
        self._x = None if self._x is None else self._x * kept

    def rise(self, residual: bool) -> None:
        """Make the outputs of all directions the inputs of the next layer, with what this one read added or not."""
        outputs = [None if scan.y is None else order.restore(scan.y) for scan, order in self._scans]
        output = outputs[0] if len(outputs) == 1 else joined(partial(torch.cat, dim=-1), outputs)
        self._x = joined(lambda each: each[0] + each[1], [self._x, output]) if residual else output
        self._past_the_top = residual
        for scan, order in self._scans:
            self._finals.append([None if s is None else order.restore_state(s) for s in scan.finals])
        self._scans = []

    def leave(self, x: Tensor, stacked: States) -> Tensor:
        """Say what the stack returns.

        Args:
            x: (T, B, H) its outputs; where their gradient goes past the top layer it takes the way of the shadows too.
            stacked: the states that it leaves, whose shadows are remembered for as long as somebody holds these.

        Returns:
            The outputs.
        """
        for i, state in enumerate(stacked):
            shadow = joined(torch.stack, [finals[i] if finals else None for finals in self._finals])
            if shadow is not None:
                _handed_on[state] = state.grad_fn, shadow
        return _Surface.apply(x, self._x) if self._past_the_top and self._x is not None else x


class _Surface(torch.autograd.Function):
    """The outputs as they are."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shadow: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return gradient, entering(gradient)


def _shadow_of_states(state: Tensor) -> Tensor | None:
    """The shadow of states that come into a stack; none if no stack made them as they are, or with hooks."""
    made_by, shadow = _handed_on.get(state, (None, None))
    return shadow if made_by is state.grad_fn and not torch_private.has_hooks(state) else None
