"""A compiled cell as a function of tensors."""

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell
from rnnlab.scan.compiled.calls import CompiledCall, External, Matrix, Tables
from rnnlab.scan.compiled.library import lanes, scan_library, step_library
from rnnlab.scan.compiled.operands import Kept, Operands, Setting
from rnnlab.scan.compiled.program import Program, Prologue, SlotRow
from rnnlab.scan.native.buffers import pool
from rnnlab.scan.returned import Gradients, Maybe, Wanted
from rnnlab.scan.shadow import EXPONENT


class _Shape:
    """Sizes of one call.

    Args:
        program: the compiled step.
        given: the tensors of the call.
        lanes: values in one vector.
    """

    def __init__(self, program: Program, given: Operands, lanes: int) -> None:
        self.members, (self.T, self.B, _) = given.x.shape[:-3], given.x.shape[-3:]
        self.count = self.members[0] if self.members else 1
        self.width = [0, 0, 0]
        for label, role, unit, blocks, state in (*program.forward.slots, *program.backward.slots):
            if label == "x":
                self.width[unit] = given.x.shape[-1] // blocks
            elif role in ("BEFORE", "AFTER"):
                self.width[unit] = given.before[state].shape[-1] // blocks
        self.padded = [-(-w // lanes) * lanes for w in self.width]

    def row(self, slot: SlotRow) -> int:
        """Values in one row of a slot."""
        _, _, unit, blocks, _ = slot
        return 1 if unit < 0 else blocks * self.padded[unit]

    def kept(self, slot: SlotRow) -> int:
        """Values in a slot that is kept, filled up to whole lines of the cache."""
        rows = self.T if slot[1] == "KEPT_COLUMNS" else self.T * self.B
        return -(-self.count * rows * self.row(slot) // 16) * 16

    def unpadded(self, rows: Tensor, slot: SlotRow) -> Tensor:
        """Rows of a slot without what fills their vectors up; the same memory where nothing does."""
        _, _, unit, blocks, _ = slot
        if self.width[unit] == self.padded[unit]:
            return rows
        return rows.unflatten(-1, (blocks, -1))[..., : self.width[unit]].flatten(-2)


class Kernel:
    """A program with its libraries, for one dtype.

    Args:
        program: the compiled step.
        dtype: float32 or float64.

    Raises:
        OSError: if its code cannot be compiled.
    """

    def __init__(self, program: Program, dtype: torch.dtype) -> None:
        self.program, self.dtype = program, dtype
        self._scan, self._step, self._lanes = scan_library(), step_library(program.source, dtype), lanes(dtype)
        self._forward, self._backward = Tables(program.forward), Tables(program.backward)
        self._kept = [slot for slot in program.forward.slots if slot[1].startswith("KEPT") and slot[0][0] == "k"]
        self._statistics = [slot for slot in program.forward.slots if slot[0][0] == "m"]
        self._states = [slot for slot in program.forward.slots if slot[1] == "AFTER"]
        self._shapes: dict[Any, _Shape] = {}
        self._step_address = {back: _address(self._step, "backward" if back else "forward") for back in (False, True)}

    @functools.lru_cache(maxsize=64)  # noqa: B019  # kernels live as long as the process
    def prologue(self, cell: Cell, inputs: int) -> Prologue:
        """What a step reads of its weights, for a layer of this size."""
        sizes = {"H": cell.hidden_size, "I": inputs, "P": cell.projected_size}
        return Prologue(self.program, sizes | {"real": self.dtype})

    def _shape(self, given: Operands) -> "_Shape":
        key = given.x.shape, *(s.shape for s in given.before)
        if key not in self._shapes:
            if len(self._shapes) > 256:
                self._shapes.clear()
            self._shapes[key] = _Shape(self.program, given, self._lanes)
        return self._shapes[key]

    def forward(self, setting: Setting, given: Operands, keep: bool) -> tuple[Tensor, list[Tensor], Kept]:
        """Run over the sequences.

        Args:
            setting: what to run.
            given: its tensors.
            keep: whether to keep what `backward` needs.

        Returns:
            The first state at every step, (T, B, S), the states after the last steps, (D, B, S) each, and what is kept.
        """
        shape = self._shape(given)
        T, B, of = shape.T, shape.B, shape.members
        count = sum(shape.kept(slot) for slot in self._kept) if keep else 0
        kept = Kept(
            [pool.empty(*of, T, B, shape.row(slot), dtype=self.dtype) for slot in self._states],
            pool.empty(count, dtype=self.dtype),
            {slot[0]: torch.empty(*of, T, shape.row(slot), dtype=self.dtype) for slot in self._statistics},
        )
        finals = [torch.empty_like(s) for s in given.before]
        call, external = self._call(self._forward, setting, given, shape)
        self._enter_kept(self._forward, external, kept, shape, self._kept if keep else [])
        for label, rows in kept.statistics.items():
            external[self._forward.labels[label]].base = rows.data_ptr()
        _enter(call.final_state, finals)
        self._run(call, back=False)
        for slot in self._statistics:
            kept.statistics[slot[0]] = shape.unpadded(kept.statistics[slot[0]], slot)
        return shape.unpadded(kept.histories[0], self._states[0]), finals, kept

    def backward(
        self, setting: Setting, given: Operands, kept: Kept, upstream: Maybe, wanted: Wanted, shadowed: bool = False
    ) -> Gradients:
        """Sweep back over the sequences.

        Args:
            setting: what `forward` ran.
            given: as given to `forward`.
            kept: as it returned it.
            upstream: gradients of the first state at every step, (T, B, S), and of the states after the last steps,
                (D, B, S) each; none is zero.
            wanted: what to compute.
            shadowed: whether `upstream` are shadows; see `rnnlab.scan.shadow`.
        """
        shape = self._shape(given)
        grads = self._gradients(given, shape, wanted)
        dy, *finals = upstream
        dy = None if dy is None else dy if dy.stride(-1) == 1 else dy.contiguous()
        finals = [None if f is None else f.contiguous() for f in finals]
        call, external = self._call(self._backward, setting, given, shape)
        self._enter_kept(self._backward, external, kept, shape, self._kept)
        call.upstream = _external(dy, shape)
        if "dx" in self._backward.labels:
            call.input_gradient, call.input_shadow = _external(grads.x, shape), _external(grads.x_shadow, shape)
        weights = (Matrix * max(1, len(given.hoisted)))(*(_matrix(g, shape) for g in grads.weights))
        call.weight_gradient, call.pairs = weights, call.pairs if wanted.weights else 0
        _enter(call.upstream_final, finals)
        _enter(call.start_gradient, grads.starts)
        _enter(call.log2_norms, grads.log2_norms)
        _enter(call.mantissas, grads.mantissas)
        _enter(call.exponents, grads.exponents)
        _enter(call.start_shadow, grads.start_shadows)
        call.shadowed, call.shadow_exponent = shadowed, EXPONENT
        self._run(call, back=True)
        return grads

    def _gradients(self, given: Operands, shape: _Shape, wanted: Wanted) -> Gradients:
        """Memory for what is wanted."""
        x, states, of, T, B = given.x, given.before, shape.members, shape.T, shape.B
        read = "dx" in self._backward.labels

        def like_x(dtype: torch.dtype) -> Tensor:
            return pool.empty(*x.shape, dtype=dtype) if read else x.new_zeros(x.shape, dtype=dtype)

        return Gradients(
            x=like_x(x.dtype) if wanted.inputs else None,
            weights=[h.new_zeros(h.shape) if wanted.weights and h.dim() > len(of) else None for h in given.hoisted],
            starts=[torch.empty_like(s) for s in states],
            log2_norms=[pool.empty(*of, T, B, dtype=torch.float64) for _ in states] if wanted.norms else [],
            mantissas=[s.new_zeros(*of, T, B, s.shape[-1]) for s in states] if wanted.vectors else [],
            exponents=[s.new_zeros(*of, T, B, dtype=torch.int32) for s in states] if wanted.vectors else [],
            x_shadow=like_x(torch.float64) if wanted.input_shadow else None,
            start_shadows=[torch.empty_like(s, dtype=torch.float64) for s in states] if wanted.start_shadows else [],
        )

    def _call(
        self, tables: Tables, setting: Setting, given: Operands, shape: _Shape
    ) -> tuple[CompiledCall, "ctypes.Array[External]"]:
        """What both directions need."""
        call = CompiledCall(
            shape.count, shape.T, shape.B, setting.slices, setting.threads, setting.dilation, setting.start
        )
        tables.write(call)
        call.states, call.coupled, call.width[:] = len(given.before), self.program.coupled, shape.width
        if setting.sizes is not None:
            call.sizes = (ctypes.c_int64 * shape.T)(*setting.sizes)
        external = (External * tables.slots)()
        sources = {"x": [given.x], "r": given.noise, "q": given.statistics, "w": given.hoisted}
        for kind, number, i in tables.given:
            external[i] = _external(sources[kind][number], shape)
        call.external = external
        call.matrix = (Matrix * max(1, len(self.program.matrices)))(
            *(_matrix(given.hoisted[i], shape) for i in self.program.matrices)
        )
        call.numbers = (ctypes.c_double * max(1, len(given.numbers)))(*given.numbers)
        _enter(call.before, given.before)
        return call, external

    def _enter_kept(
        self, tables: Tables, external: "ctypes.Array[External]", kept: Kept, shape: _Shape, slots: Sequence[SlotRow]
    ) -> None:
        for i, history in enumerate(kept.histories):
            external[tables.labels[f"n{i}"]].base = history.data_ptr()
        at = kept.slots.data_ptr()
        for slot in slots:
            external[tables.labels[slot[0]]].base = at
            at += shape.kept(slot) * self.dtype.itemsize

    def _run(self, call: CompiledCall, back: bool) -> None:
        call.run_step = self._step_address[back]
        if not self._scan.run(ctypes.byref(call), self.dtype == torch.float64, back):
            raise MemoryError(
                f"a compiled layer of {call.width[0]} units and {call.batch} examples found no memory to work in: "
                "make it smaller, or leave more memory to this process"
            )


def _address(library: ctypes.CDLL, name: str) -> int | None:
    return ctypes.cast(getattr(library, name), ctypes.c_void_p).value


def _enter(addresses: "ctypes.Array[ctypes.c_void_p]", tensors: Maybe) -> None:
    for i, t in enumerate(tensors):
        addresses[i] = None if t is None else t.data_ptr()


def _external(t: Tensor | None, shape: _Shape) -> External:
    """Where a tensor lies: its members, steps and rows; those of columns have fewer dimensions."""
    if t is None:
        return External()
    own = t.stride()[len(shape.members) :]
    step, row = (own[0], own[1] if len(own) > 2 else 0) if len(own) > 1 else (0, 0)
    return External(t.data_ptr(), t.stride(0) if shape.members else 0, step, row)


def _matrix(t: Tensor | None, shape: _Shape) -> Matrix:
    if t is None:
        return Matrix()
    own = t.stride()[len(shape.members) :]
    row, column = own if len(own) == 2 else (0, *own[:1]) if own else (0, 0)
    return Matrix(t.data_ptr(), t.stride(0) if shape.members else 0, row, column)
