"""The compiled scan as an operation of autograd."""

import copy
import dataclasses
import functools
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.scan import reference
from rnnlab.scan.compiled.kernel import Kernel
from rnnlab.scan.compiled.operands import Kept, Operands, Setting
from rnnlab.scan.compiled.program import numbers_of
from rnnlab.scan.differentiable import gradients
from rnnlab.scan.native import kernels
from rnnlab.scan.native.support import is_readable
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.returned import Gradients, Wanted, go_back, shadow_gradients
from rnnlab.scan.shadow import Shadows, shadow_of


class Scan(NamedTuple):
    """What one scan runs, beside its tensors.

    Attributes:
        cell: the equations.
        kernel: they, compiled.
        setting: sizes, dilation and threads.
        names: of the weights, in turn.
        w: the layer's weights and circumstances.
        noise: (T, B, S), for each state that draws some.
        statistics: (T, F), running statistics of the steps.
        observers: who follows.
    """

    cell: Cell
    kernel: Kernel
    setting: Setting
    names: list[str]
    w: Weights
    noise: list[Tensor]
    statistics: list[Tensor]
    observers: Sequence[ScanObserver]


def run_kernel(
    cell: Cell,
    kernel: Kernel,
    w: Weights,
    x: Tensor,
    history: Sequence[States],
    start: int = 0,
    observers: Sequence[ScanObserver] = (),
    shadows: Shadows | None = None,
) -> tuple[Tensor, list[States]]:
    """Run a cell over a sequence; see `rnnlab.scan.reference.scan` for the arguments and what is returned."""
    T, B, _ = x.shape
    read = cell.project(w, x, start) if cell.couples_inputs else x
    names = [name for name in cell.parameter_shapes(1) if name in w.tensors]
    weights = [w.tensors[name] for name in names]
    slices, threads = kernels.split(1, B, T * B * sum(t.numel() for t in weights if t.dim() == 2))
    sizes = None if w.sizes is None else tuple(w.sizes)
    setting = Setting(sizes, len(history), start, 1 if kernel.program.coupled else slices, threads)
    scan = Scan(
        cell, kernel, setting, names, w, _noise(kernel, w, x, history), _statistics(kernel, w, start, T), observers
    )
    tensors = [read, *weights, *(s for states in history for s in states)]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    count = len(cell.states) * len(history)
    if shadows is None:
        y, *finals = _Scan.apply(scan, keep, len(tensors), *tensors)
    else:
        own = [shadows.x if read is x else None, *(shadows.starts or [None] * count)]
        y, *finals = _Scan.apply(scan, keep, len(tensors), *tensors, *own)
        shadows.y = finals[count] if type(cell).emit is Cell.emit else None
        finals, shadows.finals = finals[:count], finals[count + 1 :]
    outputs = cell.emit(w, y, x)
    if sizes is not None and type(cell).emit is not Cell.emit:
        outputs = reference.without_padding(outputs, list(sizes))
    width = len(cell.states)
    return outputs, [tuple(finals[i : i + width]) for i in range(0, count, width)]


def _noise(kernel: Kernel, w: Weights, x: Tensor, history: Sequence[States]) -> list[Tensor]:
    """Noise of every step, drawn in the order in which the reference scan draws it."""
    (T, B, _), states = x.shape, kernel.program.noise
    noise = [x.new_zeros(T, B, history[0][i].shape[-1]) for i in states]
    for k in range(T if states else 0):
        active = B if w.sizes is None else w.sizes[k]
        for rows in noise:
            torch.rand(rows[k, :active].shape, generator=w.generator, out=rows[k, :active])
    return noise


def _statistics(kernel: Kernel, w: Weights, start: int, steps: int) -> list[Tensor]:
    """(T, F) each: the running statistics that each step reads; steps beyond the last row share it."""
    found = []
    for name in kernel.program.statistics:
        rows = w.tensors[name].detach()
        found.append(rows[(torch.arange(steps) + start).clamp(max=len(rows) - 1)])
    return found


@torch.no_grad()
def _update_statistics(scan: Scan, kept: Kept, batch: int) -> None:
    """Bring the running statistics up to date with those of the batch, step by step."""
    program, sizes, start = scan.kernel.program, scan.setting.sizes, scan.setting.start
    for mean, var, own_mean, own_var, weight in program.running:
        count = torch.tensor(sizes or [batch] * len(kept.statistics[own_var]), dtype=torch.float64).unsqueeze(1)
        unbiased = kept.statistics[own_var] * (count / (count - 1))
        for place, new in ((mean, kept.statistics[own_mean]), (var, unbiased)):
            rows = scan.w.tensors[program.statistics[place]]
            own = max(0, min(len(new), len(rows) - start))
            rows[start : start + own] += weight * (new[:own].to(rows.dtype) - rows[start : start + own])
            for late in new[own:]:
                rows[-1] += weight * (late.to(rows.dtype) - rows[-1])


class _Scan(torch.autograd.Function):
    """One layer over its sequences. After the tensors follow shadows of inputs and first states, if there are some;
    then those of outputs and final states follow the outputs."""

    @staticmethod
    def forward(ctx: Any, scan: Scan, keep: bool, count: int, *tensors: Any) -> Any:
        tensors, shadows = tensors[:count], tensors[count:]
        given = _operands(scan, tensors, [t.detach() for t in tensors[1 : 1 + len(scan.names)]])
        y, finals, kept = scan.kernel.forward(scan.setting, given, keep)
        if scan.w.training:
            _update_statistics(scan, kept, y.shape[-2])
        outputs = [y, *_by_phase(finals)]
        ctx.scan, ctx.kept, ctx.count = scan, kept, count
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        return *outputs, *(shadow_of(t) for t in outputs if shadows)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:  # type: ignore[override]
        scan, tensors = ctx.scan, ctx.saved_tensors
        needed, shadows_needed = ctx.needs_input_grad[3 : 3 + ctx.count], ctx.needs_input_grad[3 + ctx.count :]
        outputs = 1 + len(scan.cell.states) * scan.setting.dilation
        upstream, shadows = upstream[:outputs], upstream[outputs:]
        if torch.is_grad_enabled() or not is_readable(g for g in upstream if g is not None):
            again = gradients(partial(_again, scan), scan.cell, tensors, upstream, needed, scan.observers)
            return None, None, None, *again, *(None for _ in shadows_needed)
        weights = tensors[1 : 1 + len(scan.names)]
        wanted = Wanted(inputs=needed[0], weights=any(needed[1 : 1 + len(weights)]))
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_(need) for t, need in zip(weights, needed[1:], strict=False)]
            given_with_graph = _operands(scan, tensors, leaves)
        given = _detached(given_with_graph)

        def back(upstream: Sequence[Tensor | None], wanted: Wanted, shadowed: bool = False) -> Gradients:
            return scan.kernel.backward(scan.setting, given, ctx.kept, _by_state(scan, upstream), wanted, shadowed)

        grads, measured, lost = go_back(
            back, upstream, shadows, wanted, shadows_needed, scan.cell.states, scan.observers
        )
        own = (
            _weight_gradients(leaves, given_with_graph.hoisted, grads.weights)
            if wanted.weights
            else [None] * len(weights)
        )
        found = [grads.x, *own, *_by_phase(grads.starts)]
        found = [g if need else None for g, need in zip(found, needed, strict=True)]
        return (
            None,
            None,
            None,
            *found,
            *shadow_gradients(measured.x_shadow, _by_phase(measured.start_shadows), lost, shadows_needed),
        )


def _operands(scan: Scan, tensors: Sequence[Tensor], weights: Sequence[Tensor]) -> Operands:
    """The tensors as the kernel reads them, from those that autograd knows."""
    x, starts = tensors[0], tensors[1 + len(scan.names) :]
    hoisted = scan.kernel.prologue(scan.cell, x.shape[-1])(weights, _numbers(scan.cell))  # type: ignore[arg-type]
    scalars = [float(t) if t.dim() == 0 else 0.0 for t in hoisted]
    width = len(scan.cell.states)
    before = [_stacked(starts[i::width]) for i in range(width)]
    hoisted = [t if t.dim() == 0 else _readable(t, x.dtype) for t in hoisted]
    return Operands(x if x.stride(-1) == 1 else x.contiguous(), scan.noise, scan.statistics, hoisted, scalars, before)


def _readable(t: Tensor, dtype: torch.dtype) -> Tensor:
    """As a kernel reads it: vectors lie side by side."""
    t = t if t.dtype == dtype else t.to(dtype)
    return t if t.dim() == 2 or t.is_contiguous() else t.contiguous()


def _stacked(states: Sequence[Tensor]) -> Tensor:
    """(D, B, S), contiguous, from D states."""
    return states[0].contiguous().unsqueeze(0) if len(states) == 1 else torch.stack(list(states))


@functools.lru_cache(maxsize=256)
def _numbers(cell: Cell) -> list[Tensor]:
    """The continuous options of a cell."""
    return [torch.tensor(value, dtype=torch.float64) for value in numbers_of(cell).values()]


def _detached(given: Operands) -> Operands:
    return dataclasses.replace(given, hoisted=[t.detach() for t in given.hoisted])


def _weight_gradients(
    leaves: list[Tensor], hoisted: Sequence[Tensor], found: Sequence[Tensor | None]
) -> list[Tensor | None]:
    """From gradients of what the step reads to those of the weights."""
    index, parts = {id(t): i for i, t in enumerate(leaves)}, list[tuple[int, Tensor]]()
    pairs = [(h, g) for h, g in zip(hoisted, found, strict=True) if g is not None and h.requires_grad]
    made = [(h, g) for h, g in pairs if id(h) not in index]
    parts += [(index[id(h)], g) for h, g in pairs if id(h) in index]  # weights that are read as they are
    if made:
        wanted = [i for i, t in enumerate(leaves) if t.requires_grad]
        each = torch.autograd.grad(
            [h for h, _ in made], [leaves[i] for i in wanted], [g for _, g in made], allow_unused=True
        )
        parts += [(i, g) for i, g in zip(wanted, each, strict=True) if g is not None]
    gradients: dict[int, Tensor] = {}
    for i, g in parts:
        gradients[i] = gradients[i] + g if i in gradients else g
    return [gradients.get(i) for i in range(len(leaves))]


def _again(scan: Scan, tensors: Sequence[Tensor], observers: Sequence[ScanObserver]) -> tuple[Tensor, list[Tensor]]:
    """The same scan by the reference."""
    x, weights, starts = tensors[0], tensors[1 : 1 + len(scan.names)], tensors[1 + len(scan.names) :]
    w = copy.copy(scan.w)
    w.tensors = scan.w.tensors | dict(zip(scan.names, weights, strict=True))
    w.replayed = [rows[k, :size] for k, size in _sizes(scan) for rows in scan.noise]
    w.tensors |= {name: t.clone() for name, t in w.tensors.items() if name in scan.kernel.program.statistics}
    width, start = len(scan.cell.states), scan.setting.start
    history = [tuple(starts[i : i + width]) for i in range(0, len(starts), width)]
    u = x if scan.cell.couples_inputs else scan.cell.project(w, x, start)
    firsts, history = reference.steps(scan.cell, w, u, history, start, observers)
    return firsts, [s for states in history for s in states]


def _sizes(scan: Scan) -> list[tuple[int, int]]:
    return list(enumerate(scan.setting.sizes or [rows.shape[1] for rows in scan.noise[:1] for _ in rows]))


def _by_phase(states: Sequence[Tensor]) -> list[Tensor]:
    """(D, B, S) for each state, one phase after the other."""
    return [s[p] for p in range(len(states[0])) for s in states] if states else []


def _by_state(scan: Scan, upstream: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients of the outputs and of the final states, (D, B, S) for each state."""
    y, *finals = upstream
    width, found = len(scan.cell.states), list[Tensor | None]()
    for i in range(width):
        own = finals[i::width]
        there = next((g for g in own if g is not None), None)
        each = [torch.zeros_like(there) if g is None else g for g in own] if there is not None else []  # type: ignore[arg-type]
        found.append(_stacked(each) if each else None)
    return [y, *found]
