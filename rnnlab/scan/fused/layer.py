"""One call of torch's fused layer, with a graph of its own."""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from rnnlab.cells import Cell
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.vanilla import VanillaCell


class ActiveRows:
    """The active rows of a padded batch, as torch packs them: step by step.

    Args:
        sizes: active examples of every step; none if all are.
        shape: of the padded batch, (T, B).
        device: where it lies.

    Attributes:
        active: (T, B) which rows are active, on the CPU; none if all are.
        sizes: (steps,) active examples of every step that has some, on the CPU; likewise.
    """

    def __init__(self, sizes: Sequence[int] | None, shape: Sequence[int], device: torch.device) -> None:
        self._shape, self._device = tuple(shape), device
        self.active = self.sizes = self._index = None
        if sizes is not None and min(sizes) < shape[1]:
            counts = torch.tensor(sizes)
            self.sizes, self.active = counts[counts > 0], torch.arange(shape[1]) < counts.unsqueeze(1)
            self._index = self.active.flatten().nonzero().squeeze(1).to(device)

    def last(self) -> Tensor:
        """(B,) the last step of every example."""
        if self.active is None:
            return torch.full(self._shape[1:], self._shape[0] - 1, device=self._device)
        return (self.active.sum(0) - 1).to(self._device)

    def pack(self, t: Tensor) -> Tensor:
        """(N, F) the active rows of (T, B, F); as they are if all are."""
        return t if self._index is None else t.flatten(0, 1).index_select(0, self._index)

    def unpack(self, t: Tensor) -> Tensor:
        """(T, B, F) from what `pack` returns, with zeros where an example has ended."""
        if self._index is None:
            return t
        padded = t.new_zeros(self._shape[0] * self._shape[1], t.shape[-1])
        return padded.index_copy_(0, self._index, t).unflatten(0, self._shape)


class FusedLayer(NamedTuple):
    """What a call has read and returned.

    Attributes:
        rows: which rows are active.
        leaves: packed inputs, weights, first states.
        outputs: packed outputs, final states.
    """

    rows: ActiveRows
    leaves: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @classmethod
    def run(cls, cell: Cell, rows: ActiveRows, tensors: Sequence[Tensor], needs: Sequence[bool] = ()) -> Self:
        """Run it.

        Args:
            cell: the equations.
            rows: which rows are active.
            tensors: (T, B, I) inputs, weights in the order of `torch.nn`, (B, S) first states.
            needs: which of them need a gradient; none if empty.
        """
        x, *weights = tensors[: -len(cell.states)]
        starts = tensors[-len(cell.states) :]
        leaves = (rows.pack(x.detach()), *_in_one_piece(weights), *(s.detach().contiguous() for s in starts))
        for t, need in zip(leaves, needs, strict=False):
            t.requires_grad_(need)
        with torch.set_grad_enabled(bool(needs)):
            return cls(rows, leaves, _call(cell, rows, leaves, train=bool(needs)))

    def back(self, upstream: Sequence[Tensor | None], keep: bool) -> list[Tensor | None]:
        """Gradients of the leaves; none where it needs none, or there is none.

        Args:
            upstream: of packed outputs and final states; none is zero.
            keep: whether the way back may be gone once more.
        """
        sent = [(out, g) for out, g in zip(self.outputs, upstream, strict=True) if g is not None]
        wanted = [t for t in self.leaves if t.requires_grad]
        if not sent or not wanted:
            return [None for _ in self.leaves]
        outputs, given = zip(*sent, strict=True)
        found = iter(torch.autograd.grad(outputs, wanted, given, retain_graph=keep, allow_unused=True))
        return [next(found) if t.requires_grad else None for t in self.leaves]


def _call(cell: Cell, rows: ActiveRows, leaves: Sequence[Tensor], train: bool) -> tuple[Tensor, ...]:
    """Outputs and final states; `train` has cuDNN keep what the way back needs."""
    name = f"rnn_{cell.activation}" if isinstance(cell, VanillaCell) else cell.kind
    x, *weights = leaves[: -len(cell.states)]
    starts = [s.unsqueeze(0) for s in leaves[-len(cell.states) :]]
    before = starts if isinstance(cell, LSTMCell) else starts[0]
    options = any(w.dim() == 1 for w in weights), 1, 0.0, train, False  # biases, layers, dropout, training, directions
    if rows.sizes is None:
        y, *finals = getattr(torch, name)(x, before, weights, *options, False)
    else:
        y, *finals = getattr(torch, name)(x, rows.sizes, before, weights, *options)
    return y, *(s.squeeze(0) for s in finals)


def _in_one_piece(weights: Sequence[Tensor]) -> list[Tensor]:
    """Weights side by side, matrices first, as cuDNN wants them: others it copies at every call, and says so."""
    order = sorted(range(len(weights)), key=lambda i: weights[i].dim() == 1)
    piece = torch.cat([weights[i].detach().reshape(-1) for i in order])
    parts = dict(zip(order, piece.split([weights[i].numel() for i in order]), strict=True))
    return [parts[i].view(w.shape) for i, w in enumerate(weights)]
