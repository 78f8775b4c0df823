"""The compiled scan as an operation of autograd."""

import ctypes
import functools
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
from rnnlab.scan.engines import is_readable
from rnnlab.scan.members import layers, member_gradients
from rnnlab.scan.native import kernels
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
        numbers: options of the cell, and what follows from them.
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
    numbers: "ctypes.Array[ctypes.c_double]"
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
    names = _names(cell, tuple(w.tensors))  # type: ignore[arg-type]  # frozen: has a hash
    weights = [w.tensors[name] for name in names]
    prologue = kernel.prologue(cells, read.shape[-1], len(weights))  # type: ignore[arg-type]
    hoisted = prologue.of_members(weights) if stacked else prologue(weights)
    work = T * B * sum(t.numel() for t in weights if t.dim() == 2 + stacked) // len(cells)
    slices, threads = kernels.split(len(cells), B, work)
    sizes = None if w.sizes is None else tuple(w.sizes)
    setting = Setting(sizes, len(history), start, 1 if kernel.program.coupled else slices, threads)
    noise, statistics = draw_noise(kernel.program, w, x, history), read_statistics(kernel.program, w, start, T)
    scan = Scan(cells, stacked, kernel, setting, names, w, noise, statistics, prologue.scalars, observers)
    tensors = [read, *weights, *(s for states in history for s in states)]
    keep = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
    count = len(cell.states) * len(history)
    if shadows is None:
        y, *finals = _Scan.apply(scan, keep, len(tensors), len(hoisted), *tensors, *hoisted)
    else:
        own = [shadows.x if read is x else None, *(shadows.starts or [None] * count)]
        y, *finals = _Scan.apply(scan, keep, len(tensors), len(hoisted), *tensors, *hoisted, *own)
        shadows.y = finals[count] if cell.emits_state else None
        finals, shadows.finals = finals[:count], finals[count + 1 :]
    width = len(cell.states)
    return _emitted(stacked, cell, w, y, x), [tuple(finals[i : i + width]) for i in range(0, count, width)]


def _emitted(stacked: bool, cell: Cell, w: Weights, y: Tensor, x: Tensor) -> Tensor:
    """What the layer hands on: the first state, unless the cell computes something of it."""
    if cell.emits_state:
        return y
    outputs = _by_layer(stacked, cell, w, cell.emit, y, x)
    return outputs if w.sizes is None else reference.without_padding(outputs, list(w.sizes))


@functools.lru_cache(maxsize=4096)
def _names(cell: Cell, given: tuple[str, ...]) -> list[str]:
    """The weights that a layer has, in turn."""
    return [name for name in cell.parameter_shapes(1) if name in given]


def _by_layer(stacked: bool, cell: Cell, w: Weights, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
    """A function of one layer's weights and tensors, of each layer where they are stacked."""
    # Rows that are padded in memory make another product on some processors, and members' copies have none.
    tensors = tuple(t.contiguous() for t in tensors)
    if not isinstance(w, MemberWeights) or not stacked:
        return function(w, *tensors)
    each = zip(layers(cell, w), *(apart(t) for t in tensors), strict=True)
    return together([function(*own) for own in each])


class _Scan(torch.autograd.Function):
    """One layer over its sequences.

    Its tensors are inputs, weights and first states; what the step reads of the weights; and if there are some, the
    shadows of inputs and first states: then those of outputs and final states follow the outputs. Gradients go to what
    the step reads, and from there by autograd to the weights; to these themselves if the scan is taken again.
    """

    @staticmethod
    def forward(ctx: Any, scan: Scan, keep: bool, count: int, hoisted: int, *tensors: Any) -> Any:
        given = _operands(scan, tensors[:count], tensors[count : count + hoisted])
        y, finals, kept = scan.kernel.forward(scan.setting, given, keep)
        if scan.w.training and kept.statistics:
            update_statistics(scan.kernel.program, scan.w, scan.setting, kept, y.shape[-2])
        outputs = [y, *_by_phase(finals, scan.setting.dilation)]
        ctx.scan, ctx.kept, ctx.count, ctx.hoisted = scan, kept, count, hoisted
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors[: count + hoisted])
        return *outputs, *(shadow_of(t) for t in outputs if len(tensors) > count + hoisted)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor | None) -> Any:  # type: ignore[override]
        scan, count, hoisted = ctx.scan, ctx.count, ctx.count + ctx.hoisted
        tensors, needed = ctx.saved_tensors, ctx.needs_input_grad[4:]
        shadows_needed = needed[hoisted:]
        outputs = 1 + len(scan.states) * scan.setting.dilation
        upstream, shadows = upstream[:outputs], upstream[outputs:]
        if torch.is_grad_enabled() or not is_readable(g for g in upstream if g is not None):
            again = _gradients_again(scan, tensors[:count], upstream, needed[:count])
            return None, None, None, None, *again, *(None for _ in needed[count:])
        given = _operands(scan, tensors[:count], tensors[count:])
        wanted = Wanted(inputs=needed[0], weights=any(needed[count:hoisted]))

        def back(upstream: Sequence[Tensor | None], wanted: Wanted, shadowed: bool = False) -> Gradients:
            return scan.kernel.backward(scan.setting, given, ctx.kept, _by_state(scan, upstream), wanted, shadowed)

        grads, measured, lost = go_back(back, upstream, shadows, wanted, shadows_needed, scan.states, scan.observers)
        starts = _by_phase(grads.starts, scan.setting.dilation)
        found = [grads.x, *(None for _ in scan.names), *starts, *grads.weights]
        found = [g if need else None for g, need in zip(found, needed[:hoisted], strict=True)]
        starts = _by_phase(measured.start_shadows, scan.setting.dilation)
        lost_of = shadow_gradients(measured.x_shadow, starts, lost, shadows_needed, _first_steps(scan, tensors[0]))
        return None, None, None, None, *found, *lost_of


def _first_steps(scan: Scan, x: Tensor) -> list[int]:
    """The step that reads the first states of each phase."""
    dilation, last = scan.setting.dilation, x.shape[-3] - 1
    return [min((p - scan.setting.start) % dilation, last) for p in range(dilation)]


def _operands(scan: Scan, tensors: Sequence[Tensor], hoisted: Sequence[Tensor]) -> Operands:
    """The tensors as the kernel reads them, from those that autograd knows."""
    x, starts, width = tensors[0], tensors[1 + len(scan.names) :], len(scan.states)
    before = [_stacked(starts[i::width]) for i in range(width)]
    x = x if x.stride(-1) == 1 else x.contiguous()
    hoisted = [_readable(t, x.dtype, t.dim() - scan.stacked) for t in hoisted]
    return Operands(x, scan.noise, scan.statistics, hoisted, scan.numbers, before)


def _readable(t: Tensor, dtype: torch.dtype, rank: int) -> Tensor:
    """As a kernel reads it: vectors lie side by side."""
    t = t if t.dtype == dtype or rank <= 0 else t.to(dtype)
    return t.contiguous() if rank == 1 else t


def _stacked(states: Sequence[Tensor]) -> Tensor:
    """(D, B, S), contiguous, from D states; of a single one (B, S)."""
    return states[0].contiguous() if len(states) == 1 else torch.stack(list(states), -3)


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


def _by_phase(states: Sequence[Tensor], dilation: int) -> list[Tensor]:
    """(D, B, S) for each state, one phase after the other."""
    return list(states) if dilation == 1 else [s[..., p, :, :] for p in range(dilation) for s in states]


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
