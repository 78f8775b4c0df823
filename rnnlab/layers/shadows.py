"""The shadows of what goes between the layers of a stack, and from one call of it to the next."""

from collections.abc import MutableMapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from rnnlab.cells import Cell, States
from rnnlab.layers.checks import split_states
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
        self._layer: list[Shadows] = []
        self._all: list[Shadows] = []

    def of(self, number: int) -> Shadows:
        """Those of the next scan, which is that of this layer and direction."""
        self._layer.append(Shadows(self._x, self._carried[number][0] if self._carried else ()))
        return self._layer[-1]

    def drop(self, kept: Tensor) -> None:
        """Scale what goes to the next layer, as dropout does."""
        self._x = None if self._x is None else self._x * kept

    def rise(self, residual: bool) -> None:
        """Make the outputs of all directions the inputs of the next layer, with what this one read added or not."""
        output = joined(partial(torch.cat, dim=-1), [scan.y for scan in self._layer])
        self._x = joined(lambda each: each[0] + each[1], [self._x, output]) if residual else output
        self._all += self._layer
        self._layer = []

    def surface(self, x: Tensor) -> Tensor:
        """Let the gradient of the stack's outputs, (T, B, H), take the way of the shadows too, past the top layer."""
        return x if self._x is None else _Surface.apply(x, self._x)

    def hand_on(self, stacked: States) -> None:
        """Remember the shadows of the states that leave the stack, for as long as somebody holds these."""
        for i, state in enumerate(stacked):
            shadow = joined(torch.stack, [scan.finals[i] if scan.finals else None for scan in self._all])
            if shadow is not None:
                _handed_on[state] = state.grad_fn, shadow


class _Surface(torch.autograd.Function):
    """The outputs as they are."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, shadow: Tensor) -> Tensor:
        return x.clone()  # the user may change it in place

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        return gradient, entering(gradient)


def _shadow_of_states(state: Tensor) -> Tensor | None:
    """The shadow of states that come into a stack; none if no stack has made them, or somebody changed them since."""
    made_by, shadow = _handed_on.get(state, (None, None))
    return shadow if made_by is state.grad_fn else None
