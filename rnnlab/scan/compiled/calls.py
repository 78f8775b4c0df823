"""What Python hands to the scan of a compiled step: the counterpart of calls.h."""

import ctypes
from typing import ClassVar

from rnnlab.scan.compiled.step_program import Sweep

NUMBER = 2
"""Raised together with that in calls.h whenever something in it changes, even a field of the same size."""
ROLES = (
    "FIXED_COLUMNS",
    "STEP_COLUMNS",
    "INPUT_ROWS",
    "KEPT_ROWS",
    "KEPT_NUMBERS",
    "KEPT_COLUMNS",
    "SCRATCH_ROWS",
    "SCRATCH_NUMBERS",
    "SCRATCH_COLUMNS",
    "BEFORE",
    "AFTER",
    "TANGENT",
    "NEXT",
    "TOTAL",
    "OPERAND",
    "SUM_COLUMNS",
    "INPUT_GRADIENT",
)
"""In the order of the enumeration in calls.h."""
MOST_STATES = 4

_address, _int = ctypes.c_void_p, ctypes.c_int64
_states = _address * MOST_STATES


class External(ctypes.Structure):
    """Memory from outside, and how far members, steps and rows lie apart in it; four numbers, as a weight is."""

    _fields_: ClassVar = [("base", _address), ("member", _int), ("step", _int), ("row", _int)]


class CompiledCall(ctypes.Structure):
    """The C structure of the same name; see calls.h."""

    _fields_: ClassVar = [
        *((name, _int) for name in ("members", "steps", "batch", "slices", "threads")),
        *((name, _int) for name in ("dilation", "start", "states", "coupled")),
        ("width", _int * 3),
        ("sizes", ctypes.POINTER(_int)),
        *((name, _int) for name in ("slots", "products", "pairs")),
        ("slot", _address),
        ("external", _address),
        ("product", _address),
        ("term", _address),
        ("matrix", _address),
        ("pair", _address),
        ("weight_gradient", _address),
        ("numbers", ctypes.POINTER(ctypes.c_double)),
        ("numbers_each", _int),
        ("run_step", _address),
        ("before", _states),
        ("final_state", _states),
        ("upstream", External),
        *((name, _states) for name in ("upstream_final", "start_gradient", "log2_norms", "mantissas", "exponents")),
        ("input_gradient", External),
        *((name, _int) for name in ("shadowed", "shadow_exponent")),
        ("input_shadow", External),
        ("start_shadow", _states),
    ]


class Tables:
    """What every call of one direction has in common, as arrays of C."""

    def __init__(self, sweep: Sweep) -> None:
        slots = [(ROLES.index(role), unit, blocks, state) for _, role, unit, blocks, state in sweep.slots]
        self.labels = {slot[0]: i for i, slot in enumerate(sweep.slots)}
        outside = ("INPUT_ROWS", "STEP_COLUMNS", "FIXED_COLUMNS")
        self.given = [(s[0][0], int(s[0][1:] or 0), i) for i, s in enumerate(sweep.slots) if s[1] in outside]
        self.slots, self.pairs, self.products = len(slots), len(sweep.pairs), len(sweep.products)
        self._slot, self._product = _array(slots), _array(sweep.products)
        self._term, self._pair = _array(sweep.terms), _array(sweep.pairs)
        self.nothing = [0] * (4 * self.slots)
        """What comes from outside where nothing does."""

    def write(self, call: CompiledCall) -> None:
        """Enter them into a call."""
        call.slots, call.products, call.pairs = self.slots, self.products, self.pairs
        call.slot, call.product = ctypes.addressof(self._slot), ctypes.addressof(self._product)
        call.term, call.pair = ctypes.addressof(self._term), ctypes.addressof(self._pair)


def _array(rows: list[tuple[int, ...]]) -> ctypes.Array[ctypes.c_int64]:
    flat = [value for row in rows for value in row]
    return (_int * max(1, len(flat)))(*flat)
