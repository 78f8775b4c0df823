"""Members of stacked tensors as tensors of their own, so that what torch does to one does not depend on the others."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _Copy(torch.autograd.Function):
    """A copy, whose gradient is copied too: products of matrices in memory of their own give the same to the bit."""

    @staticmethod
    def forward(ctx: Any, t: Tensor) -> Tensor:
        return t.clone(memory_format=torch.contiguous_format)  # else a dimension of one keeps the stride that it had

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient.clone(memory_format=torch.contiguous_format)


def apart(stacked: Tensor) -> list[Tensor]:
    """The members of (P, ...), in memory of their own."""
    return [_Copy.apply(t) for t in stacked.unbind(0)]  # type: ignore[misc]


def together(members: Sequence[Tensor]) -> Tensor:
    """(P, ...) from its members, whose gradients lie in memory of their own."""
    return torch.stack([_Copy.apply(t) for t in members])  # type: ignore[misc]
