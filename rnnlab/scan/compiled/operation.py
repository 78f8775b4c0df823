"""The compiled scan as an operation of autograd."""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnlab.cells import Cell, MemberWeights, States, Weights
from rnnlab.scan import reference
from rnnlab.scan.apart import apart, together
from rnnlab.scan.compiled.chance import draw_noise, read_statistics, update_statistics
from rnnlab.scan.compiled.kernel import Kernel
from rnnlab.scan.compiled.operands import Operands, Setting
from rnnlab.scan.differentiable import gradients
from rnnlab.scan.members import layers, member_gradients
from rnnlab.scan.native import kernels
from rnnlab.scan.native.support import is_readable
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.returned import Gradients, Wanted, go_back, shadow_gradients
from rnnlab.scan.shadow import Shadows, shadow_of


class Scan(NamedTuple):
    """What one scan runs, beside its tensors.

    Attributes:
        cells: the equations; those of each member where these are stacked.
        stacked: whether all tensors have members.
        kernel: they, compiled.
        setting: sizes, dilation and threads.
        names: of the weights, in turn.
        w: the layer's weights and circumstances.
        noise: (T, B, S), for each state that draws some.
        statistics: (T, F), running statistics of the steps.
        observers: who follows.
    """

    cells: tuple[Cell, ...]
    stacked: bool
    kernel: Kernel
    setting: Setting
    names: list[str]
    w: Weights
    noise: list[Tensor]
    statistics: list[Tensor]
    observers: Sequence[ScanObserver]

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states."""
        return self.cells[0].states


def run_kernel(
    cell: Cell | Sequence[Cell],
    kernel: Kernel,
    w: Weights,
    x: Tensor,
    history: Sequence[States],
    start: int = 0,
    observers: Sequence[ScanObserver] = (),
    shadows: Shadows | None = None,
) -> tuple[Tensor, list[States]]:
    """Run a cell over a sequence, or the cells of stacked members; see `rnnlab.scan.reference.scan` for the arguments
    and what is returned."""
    T, B, _ = x.shape[-3:]
    stacked = not isinstance(cell, Cell)
    cells = tuple(cell) if stacked else (cell,)  # type: ignore[arg-type]
    cell = cells[0]
    read = _by_layer(stacked, cell, w, lambda w, x: cell.project(w, x, start), x) if cell.couples_inputs else x
    names = [name for name in cell.parameter_shapes(1) if name in w.tensors]
    weights = [w.tensors[name] for name in names]
    work = T * B * sum(t.numel() for t in weights if t.dim() == 2 + stacked) // len(cells)
    slices, threads = kernels.split(len(cells), B, work)
    sizes = None if w.sizes is None else tuple(w.sizes)
    setting = Setting(sizes, len(history), start, 1 if kernel.program.coupled else slices, threads)
    noise, statistics = draw_noise(kernel.program, w, x, history), read_statistics(kernel.program, w, start, T)
    scan = Scan(cells, stacked, kernel, setting, names, w, noise, statistics, observers)
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
    outputs = y
    if type(cell).emit is not Cell.emit:
        outputs = _by_layer(stacked, cell, w, cell.emit, y, x)
        outputs = outputs if sizes is None else reference.without_padding(outputs, list(sizes))
    width = len(cell.states)
    return outputs, [tuple(finals[i : i + width]) for i in range(0, count, width)]


def _by_layer(stacked: bool, cell: Cell, w: Weights, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """A function of one layer's weights and tensors, of each layer where they are stacked."""
    if not isinstance(w, MemberWeights) or not stacked:
        return function(w, *tensors)
    each = zip(layers(cell, w), *(apart(t) for t in tensors), strict=True)
    return together([function(*own) for own in each])


class _Scan(torch.autograd.Function):
    """One layer over its sequences. After the tensors follow shadows of inputs and first states, if there are some;
    then those of outputs and final states follow the outputs."""

    @staticmethod
    def forward(ctx: Any, scan: Scan, keep: bool, count: int, *tensors: Any) -> Any:
        tensors, shadows = tensors[:count], tensors[count:]
        given = _operands(scan, tensors, [t.detach() for t in tensors[1 : 1 + len(scan.names)]])
        y, finals, kept = scan.kernel.forward(scan.setting, given, keep)
        if scan.w.training:
            update_statistics(scan.kernel.program, scan.w, scan.setting, kept, y.shape[-2])
        outputs = [y, *_by_phase(finals)]
        ctx.scan, ctx.kept, ctx.count = scan, kept, count
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)
        return *outputs, *(shadow_of(t) for t in outputs if shadows)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:  # type: ignore[override]
        scan, tensors = ctx.scan, ctx.saved_tensors
        needed, shadows_needed = ctx.needs_input_grad[3 : 3 + ctx.count], ctx.needs_input_grad[3 + ctx.count :]
        outputs = 1 + len(scan.states) * scan.setting.dilation
        upstream, shadows = upstream[:outputs], upstream[outputs:]
        if torch.is_grad_enabled() or not is_readable(g for g in upstream if g is not None):
            again = _gradients_again(scan, tensors, upstream, needed)
            return None, None, None, *again, *(None for _ in shadows_needed)
        weights = tensors[1 : 1 + len(scan.names)]
        wanted = Wanted(inputs=needed[0], weights=any(needed[1 : 1 + len(weights)]))
        with torch.enable_grad():
            leaves = [t.detach().requires_grad_(need) for t, need in zip(weights, needed[1:], strict=False)]
            given_with_graph = _operands(scan, tensors, leaves)
        given = _detached(given_with_graph)

        def back(upstream: Sequence[Tensor | None], wanted: Wanted, shadowed: bool = False) -> Gradients:
            return scan.kernel.backward(scan.setting, given, ctx.kept, _by_state(scan, upstream), wanted, shadowed)

        grads, measured, lost = go_back(back, upstream, shadows, wanted, shadows_needed, scan.states, scan.observers)
        own = (
            _weight_gradients(leaves, given_with_graph.hoisted, grads.weights)
            if wanted.weights
            else [None] * len(weights)
        )
        found = [grads.x, *own, *_by_phase(grads.starts)]
        found = [g if need else None for g, need in zip(found, needed, strict=True)]
        starts, firsts = _by_phase(measured.start_shadows), _first_steps(scan, tensors[0])
        return None, None, None, *found, *shadow_gradients(measured.x_shadow, starts, lost, shadows_needed, firsts)


def _first_steps(scan: Scan, x: Tensor) -> list[int]:
    """The step that reads the first states of each phase."""
    dilation, last = scan.setting.dilation, x.shape[-3] - 1
    return [min((p - scan.setting.start) % dilation, last) for p in range(dilation)]


def _operands(scan: Scan, tensors: Sequence[Tensor], weights: Sequence[Tensor]) -> Operands:
    """The tensors as the kernel reads them, from those that autograd knows."""
    x, starts = tensors[0], tensors[1 + len(scan.names) :]
    prologue = scan.kernel.prologue(scan.cells, x.shape[-1], len(weights))
    hoisted = prologue.of_members(weights) if scan.stacked else prologue(weights)
    hoisted = [_readable(t, x.dtype, t.dim() - scan.stacked) for t in hoisted]
    width = len(scan.states)
    before = [_stacked(starts[i::width]) for i in range(width)]
    x = x if x.stride(-1) == 1 else x.contiguous()
    return Operands(x, scan.noise, scan.statistics, hoisted, prologue.scalars, before)


def _readable(t: Tensor, dtype: torch.dtype, rank: int) -> Tensor:
    """As a kernel reads it: vectors lie side by side."""
    t = t if t.dtype == dtype or rank <= 0 else t.to(dtype)
    return t.contiguous() if rank == 1 else t


def _stacked(states: Sequence[Tensor]) -> Tensor:
    """(D, B, S), contiguous, from D states."""
    return states[0].contiguous().unsqueeze(-3) if len(states) == 1 else torch.stack(list(states), -3)


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


def _gradients_again(
    scan: Scan, tensors: Sequence[Tensor], upstream: Sequence[Tensor | None], needed: Sequence[bool]
) -> list[Tensor | None]:
    """The gradients by the reference, of one layer or of each of several."""
    takes = [partial(_again, scan, p) for p in range(len(scan.cells))]
    if scan.stacked:
        return member_gradients(takes, scan.cells, tensors, upstream, needed, scan.observers)
    return gradients(takes[0], scan.cells[0], tensors, upstream, needed, scan.observers)


def _again(
    scan: Scan, member: int, tensors: Sequence[Tensor], observers: Sequence[ScanObserver]
) -> tuple[Tensor, list[Tensor]]:
    """The same scan by the reference, or that of one member."""
    x, weights, starts = tensors[0], tensors[1 : 1 + len(scan.names)], tensors[1 + len(scan.names) :]

    def own(t: Tensor) -> Tensor:
        return t[member] if scan.stacked else t

    kept = {name: own(scan.w.tensors[name]).clone() for name in scan.kernel.program.statistics}
    w = Weights(dict(zip(scan.names, weights, strict=True)) | kept, scan.w.training, scan.w.sizes)
    sizes = scan.setting.sizes or [x.shape[-2]] * x.shape[-3]
    w.replayed = [own(rows)[k, :size] for k, size in enumerate(sizes) for rows in scan.noise]
    cell, width, start = scan.cells[member], len(scan.states), scan.setting.start
    history = [tuple(starts[i : i + width]) for i in range(0, len(starts), width)]
    u = x if cell.couples_inputs else cell.project(w, x, start)
    firsts, history = reference.steps(cell, w, u, history, start, observers)
    return firsts, [s for states in history for s in states]


def _by_phase(states: Sequence[Tensor]) -> list[Tensor]:
    """(D, B, S) for each state, one phase after the other."""
    return [s[..., p, :, :] for p in range(states[0].shape[-3]) for s in states] if states else []


def _by_state(scan: Scan, upstream: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Gradients of the outputs and of the final states, (D, B, S) for each state."""
    y, *finals = upstream
    width, found = len(scan.states), list[Tensor | None]()
    for i in range(width):
        own = finals[i::width]
        there = next((g for g in own if g is not None), None)
        each = [torch.zeros_like(there) if g is None else g for g in own] if there is not None else []  # type: ignore[arg-type]
        found.append(_stacked(each) if each else None)
    return [y, *found]
