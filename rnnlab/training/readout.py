"""The linear map from states to answers, of one network or of several side by side."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from rnnlab.scan.native.buffers import pool

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
        """Map (..., H) to (..., O); where the weights are stacked, (S, P*B, H) to (P, S, B, O)."""
        if self.weight.dim() == 3:
            return _Products.apply(input, self.weight, self.bias)
        outputs = _Products.apply(input.reshape(1, -1, input.shape[-1]), self.weight[None], self.bias[None])
        return outputs.view(*input.shape[:-1], -1)


class _Products(torch.autograd.Function):
    """A product for each member: never a batched one, which takes another path for a single member."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        (S, _, H), (P, O, _) = h.shape, weight.shape
        rows = _rows(h, P)
        ctx.save_for_backward(h if P == 1 else rows, weight)  # of one they are found again, and can be differentiated
        outputs = _room(P, rows.shape[1], O, like=h)
        for y, x, w, b in zip(outputs, rows, _apart(weight), bias, strict=True):
            torch.addmm(b, x, w.t(), out=y)
        return outputs.view(P, S, -1, O)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        kept, weight = ctx.saved_tensors
        rows = _rows(kept, 1) if len(weight) == 1 else kept
        gradients, weights = _apart(gradient.flatten(1, 2)), _apart(weight)
        dweight = [g.t() @ x for g, x in zip(gradients, rows, strict=True)]
        dbias = [g.sum(0) for g in gradients]
        return _back(gradients, weights, gradient.shape[1]), _stacked(dweight), _stacked(dbias)


def _back(gradients: Tensor, weights: Tensor, S: int) -> Tensor:
    """Gradients (P, S*B, O) of the outputs as those of the states, (S, P*B, H)."""
    if len(weights) == 1:
        return (gradients[0] @ weights[0]).unflatten(0, (S, -1))
    products = _room(*gradients.shape[:2], weights.shape[-1], like=weights)
    for dx, g, w in zip(products, gradients, weights, strict=True):
        torch.mm(g, w, out=dx)
    joined = products.unflatten(1, (S, -1)).transpose(0, 1)
    if not joined.is_contiguous():
        joined = _empty(*joined.shape, like=joined).copy_(joined)
    return joined.flatten(1, 2)


def _rows(h: Tensor, members: int) -> Tensor:
    """(S, P*B, H) as (P, S*B, H)."""
    by_member = h.unflatten(1, (members, -1)).transpose(0, 1)
    return _apart(by_member).flatten(1, 2)


def _apart(stacked: Tensor) -> Tensor:
    """(P, ...), each member contiguous and where fast instructions like it; copied where it is not."""
    begins = stacked.data_ptr() % ALIGNED == 0
    follow = len(stacked) == 1 or stacked.stride(0) * stacked.element_size() % ALIGNED == 0
    if begins and follow and stacked[0].is_contiguous():
        return stacked
    return _room(*stacked.shape, like=stacked).copy_(stacked)


def _room(members: int, *shape: int, like: Tensor) -> Tensor:
    """Memory for (P, ...), each member contiguous and aligned."""
    size, step = math.prod(shape), ALIGNED // like.element_size()
    return _empty(members, -(-size // step) * step, like=like)[:, :size].unflatten(1, shape)


def _empty(*shape: int, like: Tensor) -> Tensor:
    """Memory that is used again from update to update: as large as a layer's outputs, it is dear when it is new."""
    return pool.empty(*shape, dtype=like.dtype) if like.device.type == "cpu" else like.new_empty(shape)


def _stacked(each: list[Tensor]) -> Tensor:
    return torch.stack(each) if len(each) > 1 else each[0][None]
