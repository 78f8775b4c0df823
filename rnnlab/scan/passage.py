"""What shadows become where the reference takes a scan, which carries gradients in their own dtype alone."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell, States
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.rows import largest
from rnnlab.scan.shadow import EXPONENT, Shadows, least_trusted, shadow_of


class Passage:
    """Notes of which examples gradients arrive that are too small for their dtype: zeros behind them are not known.

    Args:
        shadows: those of what the scan reads; get those of what it returns.
        cell: the equations.
        steps: T.
        observers: are told of the examples.
    """

    def __init__(self, shadows: Shadows, cell: Cell, steps: int, observers: Sequence[ScanObserver]) -> None:
        self.shadows, self.cell, self.steps, self.observers = shadows, cell, steps, observers
        self.small: Tensor | None = None

    def enter(self, x: Tensor, history: Sequence[States]) -> tuple[Tensor, list[States]]:
        """What the scan reads, whose gradients go on with shadows."""
        starts = list(self.shadows.starts) or [None] * len(history[0])
        x = x if self.shadows.x is None else _Enter.apply(self, x, self.shadows.x)  # type: ignore[assignment]
        pairs = zip(history[0], starts, strict=True)
        first = tuple(s if shadow is None else _Enter.apply(self, s, shadow) for s, shadow in pairs)
        return x, [first, *history[1:]]  # type: ignore[list-item]

    def leave(self, y: Tensor, history: Sequence[States]) -> tuple[Tensor, list[States]]:
        """What the scan returns, whose shadows are looked at on the way back."""
        y, self.shadows.y = _Leave.apply(self, y)  # type: ignore[misc]
        pairs = [_Leave.apply(self, s) for s in history[0]]
        self.shadows.finals = [shadow for _, shadow in pairs]  # type: ignore[misc]
        return y, [tuple(s for s, _ in pairs), *history[1:]]  # type: ignore[misc]

    def note(self, small: Tensor) -> None:
        """Note examples, (B,), and tell the observers."""
        if not small.any():
            return
        self.small = small if self.small is None else self.small | small
        for observer in self.observers:
            for name in self.cell.states:
                observer.underflowed(name, self.small.expand(self.steps, -1))


class _Enter(torch.autograd.Function):
    """A tensor as it is; on the way back its shadow gets its gradient, or NaN where that may have lost something."""

    @staticmethod
    def forward(ctx: Any, passage: Passage, t: Tensor, shadow: Tensor) -> Tensor:
        ctx.passage = passage
        return t.view_as(t)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor, Tensor]:  # type: ignore[override]
        size, small = largest(gradient), ctx.passage.small  # (B,), or with steps (T, B)
        lost = (size < least_trusted(gradient.dtype)) & (size > 0 if small is None else (size > 0) | small)
        return None, gradient, (gradient.double() * 2.0**EXPONENT).masked_fill(lost.unsqueeze(-1), torch.nan)


class _Leave(torch.autograd.Function):
    """A tensor as it is, and its shadow."""

    @staticmethod
    def forward(ctx: Any, passage: Passage, t: Tensor) -> tuple[Tensor, Tensor]:
        ctx.passage = passage
        ctx.set_materialize_grads(False)
        return t.view_as(t), shadow_of(t)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None, shadow: Tensor | None) -> tuple[None, Tensor | None]:  # type: ignore[override]
        if gradient is not None and shadow is not None:
            true = largest(shadow)
            small = (largest(gradient) < least_trusted(gradient.dtype)) & ((true > 0) | true.isnan())
            ctx.passage.note(small.any(0) if small.dim() > 1 else small)
        return None, gradient
