"""The compiled kernels as functions of tensors."""

import ctypes
import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rnnlab.scan.native.buffers import pool
from rnnlab.scan.native.build import load
from rnnlab.scan.native.layout import KernelCall
from rnnlab.scan.returned import Gradients, Wanted
from rnnlab.scan.shadow import EXPONENT

CELLS = {"vanilla": 0, "lstm": 1, "lstm_without_forget": 2, "gru": 3}
SLOTS = {"vanilla": 1, "lstm": 4, "lstm_without_forget": 3, "gru": 4}
ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu", "leaky_relu", "elu", "softsign", "softplus", "gelu", "hard_tanh")
"""In the order of the enumeration in cells.h."""
PARALLEL_WORK = 200_000
"""Multiplications that are worth a thread."""

Maybe = Sequence[Tensor | None]


@dataclass(frozen=True)
class Plan:
    """What to run: everything but the tensors.

    Attributes:
        cell: a key of `CELLS`.
        activation: of the vanilla cell.
        residual: α of each member's vanilla cell's connection through time; none where there is no such connection.
        sizes: active examples of every step, if sequences differ in length.
        slices: parts that each member's batch is split into; each is summed on its own, so that results depend on
            it and on nothing else about threads and members.
        threads: threads to use.
    """

    cell: str
    activation: str
    residual: tuple[float, ...] | None
    sizes: tuple[int, ...] | None
    slices: int
    threads: int

    @property
    def states(self) -> int:
        """Number of states of the cell."""
        return 2 if self.cell.startswith("lstm") else 1


def split(members: int, batch: int, work: int) -> tuple[int, int]:
    """Choose how many slices each member's batch is cut into, and the number of threads.

    A member has the slices that it would have alone, so that its results do not depend on the company.

    Args:
        members: P.
        batch: B.
        work: multiplications of one member over all steps.
    """
    most = torch.get_num_threads()
    slices = max(1, min(most, work // PARALLEL_WORK, batch))
    return slices, max(1, min(most, members * work // PARALLEL_WORK))


def forward(plan: Plan, x: Tensor, weights: Maybe, starts: list[Tensor], keep: bool) -> tuple[Tensor, ...]:
    """Run P independent layers over their sequences, or a single one: then there is no dimension P.

    Args:
        plan: what to run.
        x: (P, T, B, I), any strides but the last.
        weights: weight_ih (P, G*H, I), weight_hh (P, G*H, H) and the two biases (P, G*H), contiguous.
        starts: (P, B, H) each, contiguous.
        keep: whether to keep what `backward` needs.

    Returns:
        Outputs (P, T, B, H), lying as (T, P, B, H), the final states, and two tensors for `backward`, empty unless
        kept.
    """
    *members, T, B, _ = x.shape
    H = starts[0].shape[-1]
    y = pool.empty(T, *members, B, H, dtype=x.dtype)  # so that the examples of all members lie side by side
    y = y.transpose(0, 1) if members else y
    finals = [torch.empty_like(s) for s in starts]
    rows = T * B if plan.sizes is None else sum(plan.sizes)
    rows = rows if keep else 0
    slots = pool.empty(*members, rows * _padded(H * SLOTS[plan.cell], x.dtype), dtype=x.dtype)
    cells = pool.empty(*members, rows * _padded(H, x.dtype) * (plan.states - 1), dtype=x.dtype)
    call = _call(plan, x, weights, starts, y)
    call.final[:] = _addresses(finals)
    if keep:
        call.slots, call.cells = slots.data_ptr(), cells.data_ptr()
    _run(plan, call, x.dtype, back=False)
    return y, *finals, slots, cells


def backward(
    plan: Plan,
    x: Tensor,
    weights: Maybe,
    starts: list[Tensor],
    kept: list[Tensor],
    upstream: Maybe,
    wanted: Wanted,
    shadowed: bool = False,
) -> Gradients:
    """Sweep back over the sequences.

    Args:
        plan: what `forward` ran.
        x: as given to `forward`.
        weights: as given to `forward`.
        starts: as given to `forward`.
        kept: outputs, slots and cells as `forward` returned them.
        upstream: gradients of the outputs and the final states; none is zero.
        wanted: what to compute.
        shadowed: whether `upstream` are shadows; see `rnnlab.scan.shadow`.
    """
    y, slots, cells = kept
    grads = _gradients(plan, x, weights, starts, y, wanted)
    dy, *dfinals = upstream
    dy = None if dy is None else dy if dy.stride(-1) == 1 else dy.contiguous()
    dfinals = [None if d is None else d.contiguous() for d in dfinals]
    sums = None
    if wanted.weights:
        H = y.shape[-1]
        each = _padded(H * SLOTS[plan.cell], x.dtype) * (H + 1 + x.shape[-1])
        sums = pool.empty(*x.shape[:-3], plan.slices, each, dtype=x.dtype)
    call = _call(plan, x, weights, starts, y)
    call.slots, call.cells, call.dy, call.dx, call.sums = _addresses([slots, cells, dy, grads.x, sums])
    if dy is not None:
        call.dy_strides[:] = _strides(dy)
    call.dw_ih, call.dw_hh, call.db_ih, call.db_hh = _addresses(grads.weights)
    call.dfinal[:], call.dstart[:] = _addresses(dfinals), _addresses(grads.starts)
    call.log2_norms[:], call.mantissas[:] = _addresses(grads.log2_norms), _addresses(grads.mantissas)
    call.exponents[:] = _addresses(grads.exponents)
    call.shadowed, call.shadow_exponent = shadowed, EXPONENT
    (call.shadow_dx,), call.shadow_dstart[:] = _addresses([grads.x_shadow])[:1], _addresses(grads.start_shadows)
    _run(plan, call, x.dtype, back=True)
    return grads


def _gradients(plan: Plan, x: Tensor, weights: Maybe, starts: list[Tensor], y: Tensor, wanted: Wanted) -> Gradients:
    """Memory for what is wanted."""
    states = range(plan.states)
    return Gradients(
        x=pool.empty(*x.shape, dtype=x.dtype) if wanted.inputs else None,
        weights=[None if w is None or not wanted.weights else torch.empty_like(w) for w in weights],
        starts=[torch.empty_like(s) for s in starts],
        log2_norms=[pool.empty(*y.shape[:-1], dtype=torch.float64) for _ in states] if wanted.norms else [],
        mantissas=[y.new_zeros(y.shape) for _ in states] if wanted.vectors else [],
        exponents=[y.new_zeros(y.shape[:-1], dtype=torch.int32) for _ in states] if wanted.vectors else [],
        x_shadow=pool.empty(*x.shape, dtype=torch.float64) if wanted.input_shadow else None,
        start_shadows=[torch.empty_like(s, dtype=torch.float64) for s in starts] if wanted.start_shadows else [],
    )


def _call(plan: Plan, x: Tensor, weights: Maybe, starts: list[Tensor], y: Tensor) -> KernelCall:
    """What both directions need."""
    *members, T, B, I = x.shape
    call = KernelCall(members[0] if members else 1, T, B, I, y.shape[-1], plan.slices, plan.threads)
    call.x_strides[:] = _strides(x)
    call.activation = ACTIVATIONS.index(plan.activation)
    alphas = (1.0,) * call.members if plan.residual is None else plan.residual
    call.residual, call.alpha = plan.residual is not None, (ctypes.c_double * call.members)(*alphas)
    if plan.sizes is not None:
        call.sizes = (ctypes.c_int64 * T)(*plan.sizes)
    call.x, call.y = x.data_ptr(), y.data_ptr()
    call.w_ih, call.w_hh, call.b_ih, call.b_hh = _addresses(weights)
    call.start[:] = _addresses(starts)
    return call


def _strides(t: Tensor) -> tuple[int, ...]:
    """Strides of member, step and example."""
    return t.stride()[:3] if t.dim() == 4 else (0, *t.stride()[:2])


def _addresses(tensors: Sequence[Tensor | None]) -> list[int | None]:
    """Addresses, and null for what is absent; filled up to two for arrays over states."""
    found = [None if t is None else t.data_ptr() for t in tensors]
    return found + [None] * (2 - len(found))


@functools.cache
def _lanes(dtype: torch.dtype) -> int:
    """Values in one vector."""
    library = load()
    assert library is not None
    return library.lanes(dtype == torch.float64)


def _padded(count: int, dtype: torch.dtype) -> int:
    """A number of values filled up to whole vectors."""
    return -(-count // _lanes(dtype)) * _lanes(dtype)


def _run(plan: Plan, call: KernelCall, dtype: torch.dtype, back: bool) -> None:
    library = load()
    assert library is not None
    if not library.run(ctypes.byref(call), CELLS[plan.cell], dtype == torch.float64, back):
        raise MemoryError(
            f"a compiled {plan.cell} layer of {call.hidden} units and {call.inputs} inputs found no memory to work in: "
            "make it smaller, or leave more memory to this process"
        )
