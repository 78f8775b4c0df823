"""The linear map from states to answers, of one network or of several side by side."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

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
        return _Product.apply(input.reshape(-1, self.in_features), self.weight, self.bias).view(*input.shape[:-1], -1)


class _Product(torch.autograd.Function):
    """W h + b of one network: (N, O) from (N, H)."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(h, weight)
        return torch.addmm(bias, _aligned(h), _aligned(weight).t())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        h, weight = ctx.saved_tensors
        g = _aligned(gradient)
        return g @ _aligned(weight), g.t() @ _aligned(h), g.sum(0)


class _Products(torch.autograd.Function):
    """The same products for each of P networks: never a batched one, which takes another path for a single member."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        (S, N, H), (P, O, _) = h.shape, weight.shape
        rows = _apart(h.view(S, P, N // P, H).transpose(0, 1)).view(P, -1, H)
        ctx.save_for_backward(rows, weight)
        outputs = _room(P, S * N // P, O, like=h)
        for y, x, w, b in zip(outputs.unbind(), rows.unbind(), weight.unbind(), bias.unbind(), strict=True):
            torch.addmm(b, x, _aligned(w).t(), out=y)
        return outputs.view(P, S, N // P, O)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        rows, weight = ctx.saved_tensors
        P, S, B, _ = gradient.shape
        gradients, xs, dh = _apart(gradient.flatten(1, 2)).unbind(), rows.unbind(), _room(*rows.shape, like=rows)
        for dx, g, w in zip(dh.unbind(), gradients, weight.unbind(), strict=True):
            torch.mm(g, _aligned(w), out=dx)
        dweight = torch.stack([g.t() @ x for g, x in zip(gradients, xs, strict=True)])
        return _side_by_side(dh.view(P, S, B, -1)), dweight, torch.stack([g.sum(0) for g in gradients])


def _side_by_side(members: Tensor) -> Tensor:
    """(P, S, B, H) as (S, P*B, H)."""
    joined = members.transpose(0, 1)
    if not joined.is_contiguous():
        joined = _empty(*joined.shape, like=joined).copy_(joined)
    return joined.flatten(1, 2)


def _aligned(t: Tensor) -> Tensor:
    """The same, contiguous and where fast instructions like it."""
    t = t.contiguous()
    return t if t.data_ptr() % ALIGNED == 0 else t.clone()


def _apart(members: Tensor) -> Tensor:
    """(P, ...) with each member contiguous and aligned; copied where it is not."""
    aligned = all(n % ALIGNED == 0 for n in (members.data_ptr(), members.stride(0) * members.element_size()))
    return members if aligned and members[0].is_contiguous() else _room(*members.shape, like=members).copy_(members)


def _room(members: int, *shape: int, like: Tensor) -> Tensor:
    """Memory for (P, ...), each member contiguous and aligned."""
    size, step = math.prod(shape), ALIGNED // like.element_size()
    return _empty(members, -(-size // step) * step, like=like)[:, :size].view(members, *shape)


def _empty(*shape: int, like: Tensor) -> Tensor:
    """Memory that is used again in the next update: as large as a layer's outputs, it is dear when it is new."""
    return pool.empty(*shape, dtype=like.dtype) if like.device.type == "cpu" else like.new_empty(shape)
