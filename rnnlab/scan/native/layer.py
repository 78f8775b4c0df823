"""The compiled scan as an operation of autograd."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.vanilla import VanillaCell
from rnnlab.common import torch_private
from rnnlab.scan.differentiable import ScanTensors, by_reference, gradients
from rnnlab.scan.native import kernels
from rnnlab.scan.native.kernels import Plan
from rnnlab.scan.native.support import is_readable
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.returned import Wanted, go_back, shadow_gradients
from rnnlab.scan.shadow import Shadows, shadow_of


def run(
    cell: Cell,
    w: Weights,
    x: Tensor,
    history: Sequence[States],
    start: int = 0,
    observers: Sequence[ScanObserver] = (),
    shadows: Shadows | None = None,
) -> tuple[Tensor, list[States]]:
    """Run a cell over a sequence.

    Args:
        cell: a cell that `supports` accepts.
        w: the layer's weights; where `w.sizes` is given, step k advances its first `w.sizes[k]` examples alone.
        x: (T, B, I).
        history: the states before the first step, (B, H) each.
        start: absolute time of the first step, which makes no difference to these cells.
        observers: get the norms of the total gradients, and where wanted the gradients, when the backward pass computes
            them. Under `torch.vmap` they have the members as first dimension.
        shadows: those of inputs and first states; gets those of outputs and final states.

    Returns:
        (T, B, H) the outputs, zero where an example has ended, and, in a list of one, every example's states after its
        last step.
    """
    del start
    (states,), (T, B, _) = history, x.shape
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
    if shadows is not None:
        read = [shadows.x, *(shadows.starts or [None] * len(states))]
        y, *finals = _KernelScan.apply(plan, cell, observers, _goes_back(tensors), *tensors, *read)
        finals, shadows.y, shadows.finals = finals[: len(states)], finals[len(states)], finals[len(states) + 1 :]
        return y, [tuple(finals)]
    operation = _MemberScan if torch_private.is_transforming() else _KernelScan
    y, *finals = operation.apply(plan, cell, observers, _goes_back(tensors), *tensors)
    return y, [tuple(finals[: len(states)])]


def _goes_back(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a backward pass can follow: without one of these that requires a gradient nothing needs to be kept."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


class _KernelScan(torch.autograd.Function):
    """One layer over its sequences; with a dimension P before all others, P layers at once.

    Where shadows of inputs and first states follow the tensors, those of outputs and final states follow the outputs.
    """

    @staticmethod
    def forward(ctx: Any, plan: Plan, cell: Cell, observers: Sequence[ScanObserver], keep: bool, *tensors: Any) -> Any:
        tensors, shadows = _parted(tensors, 5 + plan.states)
        x, weights, starts = _prepared(tensors)
        outputs = kernels.forward(plan, x, weights, starts, keep)
        _remember(ctx, (plan, cell, observers, keep, *tensors), outputs)
        *outputs, _, _ = outputs
        return *outputs, *(shadow_of(t) for t in outputs if shadows)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:  # type: ignore[override]
        *tensors, y, slots, cells = ctx.saved_tensors
        x, weights, starts = _prepared(tensors)
        observers, needed = ctx.observers, ctx.needs_input_grad[4:]
        needed, shadows_needed = _parted(needed, len(tensors))
        upstream, shadows = _parted(upstream, 1 + len(starts))
        # Somebody will differentiate this pass, or follow its operations, or send many gradients at once.
        if torch.is_grad_enabled() or not is_readable(g for g in upstream if g is not None):
            take = partial(by_reference, ctx.cell, ctx.plan.sizes)
            again = gradients(take, ctx.cell, tensors, upstream, needed, observers)
            return None, None, None, None, *again, *(None for _ in shadows_needed)
        needs = ScanTensors.of(needed)
        wanted = Wanted(inputs=needs.x, weights=any(needs.weights.values()))
        back = partial(kernels.backward, ctx.plan, x, weights, starts, [y, slots, cells])
        grads, measured, lost = go_back(back, upstream, shadows, wanted, shadows_needed, ctx.cell.states, observers)
        found = [grads.x, *grads.weights, *grads.starts]
        found = [g if need else None for g, need in zip(found, needed, strict=True)]
        return (
            None,
            None,
            None,
            None,
            *found,
            *shadow_gradients(measured.x_shadow, measured.start_shadows, lost, shadows_needed),
        )


class _MemberScan(_KernelScan):
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
        x, x_dim = ScanTensors.of(each).x, ScanTensors.of(dims).x
        tensors, shape = [], (info.batch_size, *(x.shape[:-3] if x_dim is None else x.shape[1:-3]))
        for t, dim in zip(each, dims, strict=True):
            if t is not None:
                t = t.expand(info.batch_size, *t.shape) if dim is None else t.movedim(dim, 0)
                t = t.flatten(0, len(shape) - 1)
            tensors.append(t)
        operands = ScanTensors.of(tensors)
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
    operands = ScanTensors.of(tensors)
    x, weights = operands.x, operands.weights.values()
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x, [None if w is None else w.contiguous() for w in weights], [s.contiguous() for s in operands.starts]


def _parted(each: tuple[Any, ...], count: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What belongs to the tensors themselves, and to their shadows."""
    return each[:count], each[count:]
