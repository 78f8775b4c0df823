"""A compiled cell as a function of tensors."""

import ctypes
import functools
from array import array
from typing import Any

import torch
from torch import Tensor

from rnnlab.cells import Cell
from rnnlab.scan.compiled.calls import CompiledCall, External, Tables
from rnnlab.scan.compiled.library import lanes, scan_library, step_library
from rnnlab.scan.compiled.operands import Kept, Operands, Setting
from rnnlab.scan.compiled.prologue import Prologue
from rnnlab.scan.compiled.step_program import SlotRow, StepProgram, numbers_of
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

    def __init__(self, program: StepProgram, given: Operands, lanes: int) -> None:
        self.members, (self.T, self.B, _) = given.x.shape[:-3], given.x.shape[-3:]
        self.count = self.members[0] if self.members else 1
        self.width = [0, 0, 0]
        for label, role, unit, blocks, state in (*program.forward.slots, *program.backward.slots):
            if label == "x":
                self.width[unit] = given.x.shape[-1] // blocks
            elif role in ("BEFORE", "AFTER"):
                self.width[unit] = given.before[state].shape[-1] // blocks
        self.padded = [-(-w // lanes) * lanes for w in self.width]
        slots = [slot for slot in program.forward.slots if slot[1].startswith("KEPT") and slot[0][0] == "k"]
        self.kept_size = sum(map(self._kept, slots))
        self.kept_sizes = [(slot[0], self._kept(slot) * given.x.element_size()) for slot in slots]
        """Bytes of each slot that is kept, by label."""
        self.calls: dict[Any, CompiledCall] = {}

    def row(self, slot: SlotRow) -> int:
        """Values in one row of a slot."""
        _, _, unit, blocks, _ = slot
        return 1 if unit < 0 else blocks * self.padded[unit]

    def _kept(self, slot: SlotRow) -> int:
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

    def __init__(self, program: StepProgram, dtype: torch.dtype) -> None:
        self.program, self.dtype = program, dtype
        self._scan, self._step, self._lanes = scan_library(), step_library(program.source, dtype), lanes(dtype)
        self._forward, self._backward = Tables(program.forward), Tables(program.backward)
        self._statistics = [slot for slot in program.forward.slots if slot[0][0] == "m"]
        self._states = [slot for slot in program.forward.slots if slot[1] == "AFTER"]
        self._shapes: dict[Any, _Shape] = {}
        self._step_address = {back: _address(self._step, "backward" if back else "forward") for back in (False, True)}

    @functools.lru_cache(maxsize=256)  # noqa: B019  # kernels live as long as the process
    def prologue(self, cells: tuple[Cell, ...], inputs: int, weights: int) -> Prologue:
        """What a step reads of so many weights, for a layer of this size or several."""
        cell = cells[0]
        sizes = {"H": cell.hidden_size, "I": inputs, "P": cell.projected_size, "real": self.dtype}
        numbers = [list(numbers_of(own).values()) for own in cells]
        return Prologue(self.program, weights, sizes, numbers)

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
        kept = Kept(
            [pool.empty(*of, T, B, shape.row(slot), dtype=self.dtype) for slot in self._states],
            pool.empty(shape.kept_size if keep else 0, dtype=self.dtype),
            {slot[0]: torch.empty(*of, T, shape.row(slot), dtype=self.dtype) for slot in self._statistics},
        )
        finals = [torch.empty_like(s) for s in given.before]
        call, arrays = self._call(self._forward, setting, given, shape, kept, keep)
        for label, rows in kept.statistics.items():
            arrays[0][4 * self._forward.labels[label]] = rows.data_ptr()
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
        call, arrays = self._call(self._backward, setting, given, shape, kept, True)
        call.upstream = _external(dy, shape)
        if "dx" in self._backward.labels:
            call.input_gradient, call.input_shadow = _external(grads.x, shape), _external(grads.x_shadow, shape)
        weights = array("q")
        for g in grads.weights:
            weights.extend(_place_of_matrix(g, shape))
        call.weight_gradient, call.pairs = weights.buffer_info()[0], call.pairs if wanted.weights else 0
        _enter(call.upstream_final, finals)
        _enter(call.start_gradient, grads.starts)
        _enter(call.log2_norms, grads.log2_norms)
        _enter(call.mantissas, grads.mantissas)
        _enter(call.exponents, grads.exponents)
        _enter(call.start_shadow, grads.start_shadows)
        call.shadowed, call.shadow_exponent = shadowed, EXPONENT
        self._run(call, back=True)
        del arrays, weights  # which the call has read
        return grads

    def _gradients(self, given: Operands, shape: _Shape, wanted: Wanted) -> Gradients:
        """Memory for what is wanted."""
        x, states, of, T, B = given.x, given.before, shape.members, shape.T, shape.B
        read = "dx" in self._backward.labels

        def like_x(dtype: torch.dtype) -> Tensor:
            return pool.empty(*x.shape, dtype=dtype) if read else x.new_zeros(x.shape, dtype=dtype)

        return Gradients(
            x=like_x(x.dtype) if wanted.inputs else None,
            weights=[torch.zeros_like(h) if wanted.weights and h.dim() > len(of) else None for h in given.hoisted],
            starts=[torch.empty_like(s) for s in states],
            log2_norms=[pool.empty(*of, T, B, dtype=torch.float64) for _ in states] if wanted.norms else [],
            mantissas=[s.new_zeros(*of, T, B, s.shape[-1]) for s in states] if wanted.vectors else [],
            exponents=[s.new_zeros(*of, T, B, dtype=torch.int32) for s in states] if wanted.vectors else [],
            x_shadow=like_x(torch.float64) if wanted.input_shadow else None,
            start_shadows=[torch.empty_like(s, dtype=torch.float64) for s in states] if wanted.start_shadows else [],
        )

    def _call(
        self, tables: Tables, setting: Setting, given: Operands, shape: _Shape, kept: Kept, with_slots: bool
    ) -> tuple[CompiledCall, "tuple[array[int], array[int], CompiledCall]"]:
        """What both directions need, and what lies behind it: arrays of what comes from outside and of matrices,
        and what is the same in all calls."""
        same = self._same(tables, setting, shape)
        call = CompiledCall.from_buffer_copy(same)
        external, matrices = array("q", tables.nothing), array("q")
        sources = {"x": [given.x], "r": given.noise, "q": given.statistics, "w": given.hoisted}
        for kind, number, i in tables.given:
            external[4 * i : 4 * i + 4] = array("q", _place_of(sources[kind][number], shape))
        for i, history in enumerate(kept.histories):
            external[4 * tables.labels[f"n{i}"]] = history.data_ptr()
        at = kept.slots.data_ptr()
        for label, size in shape.kept_sizes if with_slots else ():
            external[4 * tables.labels[label]] = at
            at += size
        for i in self.program.matrices:
            matrices.extend(_place_of_matrix(given.hoisted[i], shape))
        call.external, call.matrix = external.buffer_info()[0], matrices.buffer_info()[0]
        call.numbers = given.numbers
        _enter(call.before, given.before)
        return call, (external, matrices, same)

    def _same(self, tables: Tables, setting: Setting, shape: _Shape) -> CompiledCall:
        """What is the same in all calls with these sizes."""
        key = tables, setting
        if key not in shape.calls:
            call = CompiledCall(
                shape.count, shape.T, shape.B, setting.slices, setting.threads, setting.dilation, setting.start
            )
            tables.write(call)
            call.states, call.coupled, call.width[:] = len(self._states), self.program.coupled, shape.width
            call.numbers_each = len(self.program.hoisted)
            if setting.sizes is not None:
                call.sizes = (ctypes.c_int64 * shape.T)(*setting.sizes)
            if len(shape.calls) > 64:
                shape.calls.clear()
            shape.calls[key] = call
        return shape.calls[key]

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


def _place_of(t: Tensor, shape: _Shape) -> tuple[int, int, int, int]:
    """Where a tensor lies: its members, steps and rows; those of columns have fewer dimensions."""
    strides = t.stride()
    member, own = (strides[0], strides[1:]) if shape.members else (0, strides)
    step, row = (own[0], own[1] if len(own) > 2 else 0) if len(own) > 1 else (0, 0)
    return t.data_ptr(), member, step, row


def _external(t: Tensor | None, shape: _Shape) -> External:
    return External() if t is None else External(*_place_of(t, shape))


def _place_of_matrix(t: Tensor | None, shape: _Shape) -> tuple[int, int, int, int]:
    """Where a weight or its gradient lies: members, rows and columns."""
    if t is None:
        return 0, 0, 0, 0
    strides = t.stride()
    member, own = (strides[0], strides[1:]) if shape.members else (0, strides)
    row, column = own if len(own) == 2 else (0, *own[:1]) if own else (0, 0)
    return t.data_ptr(), member, row, column
