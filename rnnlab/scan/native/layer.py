"""The compiled scan as an operation of autograd."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.lstm import LSTMCell
from rnnlab.cells.vanilla import VanillaCell
from rnnlab.scan.differentiable import ScanTensors, by_reference, gradients
from rnnlab.scan.engines import is_readable
from rnnlab.scan.members import member_gradients
from rnnlab.scan.native import kernels
from rnnlab.scan.native.kernels import Plan
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
    members: Sequence[Cell] = (),
) -> tuple[Tensor, list[States]]:
    """Run a cell over a sequence.

    Args:
        cell: a cell that `supports` accepts.
        w: the layer's weights; where `w.sizes` is given, step k advances its first `w.sizes[k]` examples alone.
        x: (T, B, I).
        history: the states before the first step, (B, H) each.
        start: absolute time of the first step, which makes no difference to these cells.
        observers: get the norms of the total gradients, and where wanted the gradients, when the backward pass computes
            them.
        shadows: those of inputs and first states; gets those of outputs and final states.
        members: the cells of stacked members, alike but for their numbers; then all tensors, and what observers get,
            have a dimension P before all others.

    Returns:
        (T, B, H) the outputs, zero where an example has ended, and, in a list of one, every example's states after its
        last step.
    """
    del start
    (states,), (T, B, _), cells = history, x.shape[-3:], members or (cell,)
    slices, threads = kernels.split(len(cells), B, T * B * w.weight_hh.numel() // len(cells))
    forgetful = not isinstance(cell, LSTMCell) or cell.forget_gate
    plan = Plan(
        cell=cell.kind if forgetful else "lstm_without_forget",
        activation=cell.activation if isinstance(cell, VanillaCell) else "tanh",
        residual=_residual(cells),
        sizes=None if w.sizes is None else tuple(w.sizes),
        slices=slices,
        threads=threads,
    )
    tensors = [x, w.weight_ih, w.weight_hh, w.get("bias_ih"), w.get("bias_hh"), *states]
    if shadows is not None:
        read = [shadows.x, *(shadows.starts or [None] * len(states))]
        y, *finals = _KernelScan.apply(plan, members or cell, observers, _goes_back(tensors), *tensors, *read)
        finals, shadows.y, shadows.finals = finals[: len(states)], finals[len(states)], finals[len(states) + 1 :]
        return y, [tuple(finals)]
    y, *finals = _KernelScan.apply(plan, members or cell, observers, _goes_back(tensors), *tensors)
    return y, [tuple(finals)]


def _residual(cells: Sequence[Cell]) -> tuple[float, ...] | None:
    """α of each cell's connection through time, if they have one."""
    found = [cell.residual for cell in cells if isinstance(cell, VanillaCell) and cell.residual is not None]
    return tuple(found) or None


def _goes_back(tensors: Sequence[Tensor | None]) -> bool:
    """Whether a backward pass can follow: without one of these that requires a gradient nothing needs to be kept."""
    return torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors)


class _KernelScan(torch.autograd.Function):
    """One layer over its sequences; with a dimension P before all others, P layers at once.

    Where shadows of inputs and first states follow the tensors, those of outputs and final states follow the outputs.
    """

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, cell: Cell | Sequence[Cell], observers: Sequence[ScanObserver], keep: bool, *tensors: Any
    ) -> Any:
        tensors, shadows = _parted(tensors, 5 + plan.states)
        x, weights, starts = _prepared(tensors)
        *outputs, slots, cells = kernels.forward(plan, x, weights, starts, keep)
        ctx.plan, ctx.cell, ctx.observers = plan, cell, observers
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, outputs[0], slots, cells)
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
            again = _again(ctx.plan, ctx.cell, tensors, upstream, needed, observers)
            return None, None, None, None, *again, *(None for _ in shadows_needed)
        needs = ScanTensors.of(needed)
        wanted = Wanted(inputs=needs.x, weights=any(needs.weights.values()))
        back = partial(kernels.backward, ctx.plan, x, weights, starts, [y, slots, cells])
        names = (ctx.cell if isinstance(ctx.cell, Cell) else ctx.cell[0]).states
        grads, measured, lost = go_back(back, upstream, shadows, wanted, shadows_needed, names, observers)
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


def _again(
    plan: Plan, cell: Cell | Sequence[Cell], tensors: Any, upstream: Any, needed: Any, observers: Sequence[ScanObserver]
) -> list[Tensor | None]:
    """The gradients by the reference, of one layer or of each of several."""
    if isinstance(cell, Cell):
        return gradients(partial(by_reference, cell, plan.sizes), cell, tensors, upstream, needed, observers)
    takes = [partial(by_reference, each, plan.sizes) for each in cell]
    return member_gradients(takes, cell, tensors, upstream, needed, observers)


def _prepared(tensors: Sequence[Any]) -> tuple[Tensor, list[Tensor | None], list[Tensor]]:
    """Inputs, weights and first states as the kernels read them: by stride, except from one unit to the next."""
    operands = ScanTensors.of(tensors)
    x, weights = operands.x, operands.weights.values()
    x = x if x.stride(-1) == 1 else x.contiguous()
    return x, [None if w is None else w.contiguous() for w in weights], [s.contiguous() for s in operands.starts]


def _parted(each: tuple[Any, ...], count: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What belongs to the tensors themselves, and to their shadows."""
    return each[:count], each[count:]
