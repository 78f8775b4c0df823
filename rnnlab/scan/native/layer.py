"""The compiled scan as an operation of autograd."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.vanilla import VanillaCell
from rnnlab.common import torch_private
from rnnlab.scan.differentiable import Operands, gradients
from rnnlab.scan.native import kernels
from rnnlab.scan.native.kernels import Plan, Wanted
from rnnlab.scan.native.support import is_readable
from rnnlab.scan.observer import ScanObserver


def run(
    cell: Cell, w: Weights, x: Tensor, states: States, observers: Sequence[ScanObserver] = ()
) -> tuple[Tensor, States]:
    """Run a cell over a sequence.

    Args:
        cell: a cell that `supports` accepts.
        w: the layer's weights; where `w.sizes` is given, step k advances its first `w.sizes[k]` examples alone.
        x: (T, B, I).
        states: the states before the first step, (B, H) each.
        observers: get the norms of the total gradients, and where wanted the gradients, when the backward pass computes
            them. Under `torch.vmap` they have the members as first dimension.

    Returns:
        (T, B, H) the outputs, zero where an example has ended, and every example's states after its last step.
    """
    T, B, _ = x.shape
    slices, threads = kernels.split(1, B, T * B * w.weight_hh.numel())
    vanilla = isinstance(cell, VanillaCell)
    forgetful = not isinstance(cell, LSTMCell) or cell.forget_gate
    plan = Plan(
        cell=cell.kind if forgetful else "lstm_without_forget",
        activation=cell.activation if vanilla else "tanh",
        residual=cell.residual if vanilla else None,
        sizes=None if w.sizes is None else tuple(w.sizes),
        slices=slices,
        threads=threads,
    )
    tensors = [x, w.weight_ih, w.weight_hh, w.get("bias_ih"), w.get("bias_hh"), *states]
    operation = _MemberScan if torch_private.is_transforming() else _Scan
    y, *finals = operation.apply(plan, cell, observers, _goes_back(tensors), *tensors)
    return y, tuple(finals[: len(states)])


def _goes_back(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a backward pass can follow: without one of these that requires a gradient nothing needs to be kept."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


class _Scan(torch.autograd.Function):
    """One layer over its sequences; with a dimension P before all others, P layers at once."""

    @staticmethod
    def forward(ctx: Any, plan: Plan, cell: Cell, observers: Sequence[ScanObserver], keep: bool, *tensors: Any) -> Any:
        x, weights, starts = _prepared(tensors)
        outputs = kernels.forward(plan, x, weights, starts, keep)
        _remember(ctx, (plan, cell, observers, keep, *tensors), outputs)
        return outputs[:-2]

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:  # type: ignore[override]
        *tensors, y, slots, cells = ctx.saved_tensors
        x, weights, starts = _prepared(tensors)
        (_, _, _, _, *needed), observers = ctx.needs_input_grad, ctx.observers
        upstream = upstream[: 1 + len(starts)]
        # Somebody will differentiate this pass, or follow its operations, or send many gradients at once.
        if torch.is_grad_enabled() or not is_readable(g for g in upstream if g is not None):
            again = gradients(ctx.cell, ctx.plan.sizes, tensors, upstream, needed, observers)
            return None, None, None, None, *again
        needs = Operands.of(needed)
        wanted = Wanted(
            inputs=needs.x,
            weights=any(needs.weights.values()),
            norms=bool(observers),
            vectors=any(observer.vectors for observer in observers),
        )
        grads = kernels.backward(ctx.plan, x, weights, starts, [y, slots, cells], upstream, wanted)
        for observer in observers:
            _report(observer, ctx.cell.states, grads)
        found = [grads.x, *grads.weights, *grads.starts]
        return None, None, None, None, *(g if need else None for g, need in zip(found, needed, strict=True))


class _MemberScan(_Scan):
    """The same under `torch.vmap`: the members of its dimension run side by side in one call."""

    @staticmethod
    def forward(plan: Plan, cell: Cell, observers: Sequence[ScanObserver], keep: bool, *tensors: Any) -> Any:  # type: ignore[override]
        x, weights, starts = _prepared(tensors)
        return kernels.forward(plan, x, weights, starts, keep)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        ctx.mark_non_differentiable(*output[-2:])
        _remember(ctx, inputs, output)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *args: Any) -> Any:
        """Put the mapped dimension first and join it with that of outer maps."""
        (plan, cell, observers, _, *each), (_, _, _, _, *dims) = args, in_dims
        x, x_dim = Operands.of(each).x, Operands.of(dims).x
        tensors, shape = [], (info.batch_size, *(x.shape[:-3] if x_dim is None else x.shape[1:-3]))
        for t, dim in zip(each, dims, strict=True):
            if t is not None:
                t = t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
                t = t.flatten(0, len(shape) - 1)
            tensors.append(t)
        operands = Operands.of(tensors)
        P, T, B, _ = operands.x.shape
        slices, threads = kernels.split(P, B, T * B * operands.weight_hh.numel())
        plan = dataclasses.replace(plan, slices=slices, threads=threads)
        outputs = _MemberScan.apply(plan, cell, observers, _goes_back(tensors), *tensors)
        return tuple(t.unflatten(0, shape) for t in outputs), (0,) * len(outputs)


def _remember(ctx: Any, inputs: tuple[Any, ...], outputs: tuple[Tensor, ...]) -> None:
    """Keep for the way back what it needs: a copy of nothing."""
    ctx.plan, ctx.cell, ctx.observers, _, *tensors = inputs
    y, *_, slots, cells = outputs
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*tensors, y, slots, cells)


def _prepared(tensors: Sequence[Any]) -> tuple[Tensor, list[Tensor | None], list[Tensor]]:
    """Inputs, weights and first states as the kernels read them: by stride, except from one unit to the next."""
    operands = Operands.of(tensors)
    x, weights = operands.x, operands.weights.values()
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x, [None if w is None else w.contiguous() for w in weights], [s.contiguous() for s in operands.starts]


def _report(observer: ScanObserver, names: tuple[str, ...], grads: kernels.Gradients) -> None:
    for s, name in enumerate(names):
        observer.norms(name, grads.log2_norms[s])
        if observer.vectors:
            observer.gradients(name, grads.mantissas[s], grads.exponents[s])
