"""The linear map from states to answers, of one network or of several side by side."""

import math
from typing import Any

import torch
from torch import Tensor, nn

ALIGNED = 64
"""Bytes. Products inside of torch's libraries sum in another order where an operand begins elsewhere."""


class Readout(nn.Linear):
    """W h + b, in the same products for each of P networks, whether they run alone or side by side.

    Args:
        input_size: features of a state.
        output_size: O.
        start: generator of the starting values, which are uniform up to 1/√input_size.
    """

    def __init__(self, input_size: int, output_size: int, start: torch.Generator) -> None:
        with torch.random.fork_rng(devices=[]):  # it draws values of its own, which are replaced
            super().__init__(input_size, output_size)
        bound = 1 / math.sqrt(input_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=start)

    def forward(self, input: Tensor) -> Tensor:
        """Map (..., H) to (..., O); where the weights are stacked, (S, P*B, H) to (S, P*B, O)."""
        if self.weight.dim() == 3:
            return _Products.apply(input, self.weight, self.bias)
        outputs = _Products.apply(input.reshape(1, -1, input.shape[-1]), self.weight[None], self.bias[None])
        return outputs.view(*input.shape[:-1], -1)


class _Products(torch.autograd.Function):
    """A product for each member: never a batched one, which takes another path for a single member."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        rows = _rows(h, len(weight))
        return _joined([torch.addmm(b, x, w.t()) for x, w, b in zip(rows, _aligned(weight), bias, strict=True)], h)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        h, weight = ctx.saved_tensors
        gradients = _rows(gradient, len(weight))
        dh = _joined([g @ w for g, w in zip(gradients, _aligned(weight), strict=True)], h)
        dweight = [g.t() @ x for g, x in zip(gradients, _rows(h, len(weight)), strict=True)]
        return dh, _stacked(dweight), _stacked([g.sum(0) for g in gradients])


def _rows(t: Tensor, members: int) -> list[Tensor]:
    """(S, P*B, F) as (S*B, F) for each member."""
    if members == 1:
        return _aligned(t.flatten(0, 1)[None])
    return _aligned(t.unflatten(1, (members, -1)).transpose(0, 1).flatten(1, 2))


def _joined(each: list[Tensor], like: Tensor) -> Tensor:
    """(S*B, F) of each member as (S, P*B, F)."""
    S = len(like)
    if len(each) == 1:
        return each[0].unflatten(0, (S, -1))
    return torch.stack(each).unflatten(1, (S, -1)).transpose(0, 1).flatten(1, 2)


def _stacked(each: list[Tensor]) -> Tensor:
    return torch.stack(each) if len(each) > 1 else each[0][None]


def _aligned(stacked: Tensor) -> list[Tensor]:
    """The members of a tensor, each contiguous and where fast instructions like it."""
    each = [t.contiguous() for t in stacked.unbind()]
    return [t if t.data_ptr() % ALIGNED == 0 else t.clone() for t in each]
