"""The fused scan as an operation of autograd."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.common import torch_private
from rnnlab.common.precision import whole_float32
from rnnlab.scan import reference
from rnnlab.scan.differentiable import gradients, measure
from rnnlab.scan.engines import is_readable
from rnnlab.scan.fused.layer import ActiveRows, FusedLayer
from rnnlab.scan.fused.totals import totals
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.returned import Gradients, Maybe, Wanted, go_back, shadow_gradients
from rnnlab.scan.rows import largest
from rnnlab.scan.shadow import EXPONENT, Shadows, shadow_of


class _Plan(NamedTuple):
    """What to run: everything but the tensors."""

    cell: Cell
    names: tuple[str, ...]
    sizes: list[int] | None
    observers: Sequence[ScanObserver]

    @property
    def reads(self) -> int:
        """Tensors that are read: inputs, weights, first states."""
        return 1 + len(self.names) + len(self.cell.states)

    def weights(self, tensors: Sequence[Any]) -> Weights:
        """The weights among them."""
        return Weights(dict(zip(self.names, tensors[1:], strict=False)), True, self.sizes)

    def starts(self, tensors: Sequence[Any]) -> tuple[Any, ...]:
        """The first states among them."""
        return tuple(tensors[1 + len(self.names) :])


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
    """Run a cell that `supports` accepts; see `rnnlab.scan.reference.scan` for the arguments and what is returned.

    A pass that is observed differs from one that is not by the order of sums, and on a GPU by TF32, whose ten bits
    norms would show: then cuDNN does without. Norms end at the smallest normal number, as those of the reference do.

    Args:
        cell: the equations.
        w: the layer's weights.
        x: (T, B, I).
        history: the states before the first step, (B, S) each.
        start: absolute time of the first step, which makes no difference to these cells.
        observers: are told of total gradients when a backward pass comes by.
        shadows: those of inputs and first states; gets those of outputs and final states.
        members: none.
    """
    del start, members
    (states,), plan = history, _Plan(cell, tuple(w.tensors), w.sizes, observers)
    tensors = (x, *w.tensors.values(), *states)
    if not (torch.is_grad_enabled() and any(t.requires_grad for t in tensors)):
        layer = FusedLayer.run(cell, ActiveRows(w.sizes, x.shape[:2], x.device), tensors)
        return layer.rows.unpack(layer.outputs[0]), [layer.outputs[1:]]
    if shadows is None:
        y, *finals = _FusedScan.apply(plan, *tensors)
        return y, [tuple(finals)]
    read = [shadows.x, *(shadows.starts or [None] * len(states))]
    y, *rest = _FusedScan.apply(plan, *tensors, *read)
    finals, (shadows.y, *shadows.finals) = rest[: len(states)], rest[len(states) :]
    return y, [tuple(finals)]


class _FusedScan(torch.autograd.Function):
    """One layer over its sequences; shadows of inputs and first states follow the tensors, others the outputs."""

    @staticmethod
    def forward(ctx: Any, plan: _Plan, *tensors: Any) -> Any:
        tensors, shadows = tensors[: plan.reads], tensors[plan.reads :]
        needs, read = list(ctx.needs_input_grad[1 : 1 + plan.reads]), list(tensors)
        with _precisely(tensors[0], bool(plan.observers)):
            if plan.observers:
                x, weight = tensors[:2]
                read[:2] = F.linear(x, weight), torch.eye(len(weight), dtype=x.dtype, device=x.device)
                needs[:2] = True, False
            layer = FusedLayer.run(
                plan.cell, ActiveRows(plan.sizes, tensors[0].shape[:2], tensors[0].device), read, needs
            )
        outputs = (layer.rows.unpack(layer.outputs[0].detach()), *(s.detach() for s in layer.outputs[1:]))
        ctx.plan, ctx.layer = plan, layer
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors, outputs[0])
        return *outputs, *(shadow_of(t) for t in outputs if shadows)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:  # type: ignore[override]
        *tensors, y = ctx.saved_tensors
        plan, layer, needed = ctx.plan, ctx.layer, ctx.needs_input_grad[1:]
        needed, shadows_needed = needed[: plan.reads], needed[plan.reads :]
        given, shadows = upstream[: len(layer.outputs)], upstream[len(layer.outputs) :]
        # Somebody will differentiate this pass, or follow its operations, or send many gradients at once.
        if torch.is_grad_enabled() or not is_readable((g for g in given if g is not None), y.device.type):
            again = gradients(partial(_again, plan), plan.cell, tensors, given, needed, plan.observers)
            return None, *again, *(None for _ in shadows_needed)
        keep = torch_private.keeps_graph()
        if not plan.observers:
            found = _plainly(layer, given, keep)
            rest = (None for _ in shadows_needed)
        else:
            wanted = Wanted(inputs=needed[0], weights=any(needed[1:]))
            back = partial(_observed, plan, layer, tensors, y)
            grads, measured, lost = go_back(
                back, given, shadows, wanted, shadows_needed, plan.cell.states, plan.observers
            )
            found = [grads.x, *grads.weights, *grads.starts]
            rest = shadow_gradients(measured.x_shadow, measured.start_shadows, lost, shadows_needed)
        if not keep:
            ctx.layer = None  # what autograd lets go of now
        return None, *(g if need else None for g, need in zip(found, needed, strict=True)), *rest


def _precisely(x: Tensor, observed: bool) -> AbstractContextManager[None]:
    """Keep TF32 away while somebody observes."""
    return whole_float32() if observed and x.is_cuda else nullcontext()


def _again(plan: _Plan, tensors: Sequence[Any], observers: Sequence[ScanObserver]) -> tuple[Tensor, Sequence[Tensor]]:
    """Take the scan by the reference."""
    y, (finals,) = reference.scan(plan.cell, plan.weights(tensors), tensors[0], [plan.starts(tensors)], 0, observers)
    return y, finals


def _plainly(layer: FusedLayer, upstream: Maybe, keep: bool) -> list[Tensor | None]:
    """Gradients of what the layer reads."""
    dy, *dfinals = upstream
    dx, *found = layer.back([None if dy is None else layer.rows.pack(dy), *dfinals], keep)
    return [None if dx is None else layer.rows.unpack(dx), *found]


def _observed(
    plan: _Plan,
    layer: FusedLayer,
    tensors: Sequence[Tensor],
    y: Tensor,
    upstream: Maybe,
    wanted: Wanted,
    shadowed: bool = False,
) -> Gradients:
    """One way back, from which total gradients follow; it can be gone again."""
    with _precisely(y, observed=True):
        scale = _scale(upstream, y) if shadowed else torch.zeros_like(layer.rows.last())  # (B,)
        factor = torch.exp2(-scale.double()).unsqueeze(-1)
        given = [None if g is None else (g * factor).to(y.dtype) if shadowed else g for g in upstream]
        delta, _, *found = _plainly(layer, given, keep=True)
        delta = torch.zeros_like(layer.rows.unpack(layer.leaves[0])) if delta is None else delta
        w, x, starts = plan.weights(tensors), tensors[0], plan.starts(tensors)
        z = layer.rows.unpack(layer.leaves[0])
        own = totals(plan.cell, w, z, starts, y, delta, _direct(layer.rows, plan.cell, given, y))
        dx = delta @ w.weight_ih if wanted.inputs else None
        dw = delta.flatten(0, 1).T @ x.flatten(0, 1) if wanted.weights else None
    seen = [measure(g, layer.rows.active) for g in own]
    unit, dstarts = scale - (EXPONENT if shadowed else 0), found[-len(starts) :]
    as_shadow = 1 / factor if shadowed else torch.full_like(factor, 2.0**EXPONENT)  # (B, 1)
    own_starts = [torch.zeros_like(s) if d is None else d for d, s in zip(dstarts, starts, strict=True)]
    return Gradients(
        x=dx if wanted.inputs else None,
        weights=[dw, *found[: -len(starts)]],
        starts=dstarts,  # type: ignore[arg-type]  # none where no gradient is needed
        log2_norms=[each.log2 + unit for each in seen],
        mantissas=[each.mantissa for each in seen],
        exponents=[each.exponent + unit.int() for each in seen],
        x_shadow=_wide_product(delta, w.weight_ih) * as_shadow if wanted.input_shadow else None,
        start_shadows=[d.double() * as_shadow for d in own_starts] if wanted.start_shadows else [],
        underflowed=[each.underflowed for each in seen],
    )


def _wide_product(rows: Tensor, weight: Tensor) -> Tensor:
    """(..., H) @ (H, I) in double precision of values that may have no number in their own; the digits are theirs."""
    exponent = torch.frexp(largest(rows)).exponent.clamp(-120, 120)
    common = torch.frexp(weight.abs().amax()).exponent.clamp(-120, 120)
    product = torch.ldexp(rows, -exponent.unsqueeze(-1)) @ torch.ldexp(weight, -common)
    return product.double() * torch.exp2((exponent + common).double()).unsqueeze(-1)


def _scale(upstream: Maybe, y: Tensor) -> Tensor:
    """(B,) exponents by which gradients of each example are brought to a size of about one."""
    sizes = [largest(g).view(-1, y.shape[1]).amax(0) for g in upstream if g is not None]
    size = torch.stack(sizes).amax(0)
    return torch.frexp(size.masked_fill(~size.isfinite(), 1.0)).exponent.long()


def _direct(rows: ActiveRows, cell: Cell, upstream: Maybe, y: Tensor) -> list[Tensor]:
    """(T, B, S) what comes to every state from outside: to outputs at their steps, to final states at the last."""
    dy, *dfinals = upstream
    found = []
    for s, size in enumerate(cell.state_sizes):
        entering = y.new_zeros(*y.shape[:2], size) if s or dy is None else rows.unpack(rows.pack(dy)).clone()
        last = dfinals[s]
        if last is not None:
            entering[rows.last(), torch.arange(len(last), device=y.device)] += last
        found.append(entering)
    return found
