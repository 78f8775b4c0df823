"""What Python hands to the compiled kernels: the counterpart of layout.h."""

import ctypes
from typing import ClassVar

NUMBER = 4
"""Raised together with that in layout.h whenever a field of `KernelCall` changes, even one of the same size."""

_address, _int = ctypes.c_void_p, ctypes.c_int64


class KernelCall(ctypes.Structure):
    """The C structure of the same name; see layout.h."""

    _fields_: ClassVar = [
        *((name, _int) for name in ("members", "steps", "batch", "inputs", "hidden", "slices", "threads")),
        *((name, _int * 3) for name in ("x_strides", "dy_strides")),
        *((name, _int) for name in ("activation", "residual")),
        ("alpha", ctypes.POINTER(ctypes.c_double)),
        ("sizes", ctypes.POINTER(_int)),
        *((name, _address) for name in ("x", "w_ih", "w_hh", "b_ih", "b_hh")),
        ("start", _address * 2),
        ("y", _address),
        ("final", _address * 2),
        *((name, _address) for name in ("slots", "cells", "dy")),
        ("dfinal", _address * 2),
        *((name, _address) for name in ("dx", "dw_ih", "dw_hh", "db_ih", "db_hh")),
        ("dstart", _address * 2),
        ("sums", _address),
        *((name, _address * 2) for name in ("log2_norms", "mantissas", "exponents")),
        *((name, _int) for name in ("shadowed", "shadow_exponent")),
        ("shadow_dx", _address),
        ("shadow_dstart", _address * 2),
    ]


def fits(library: ctypes.CDLL) -> bool:
    """Whether a library reads a call as Python writes it."""
    try:
        return (library.layout_number(), library.call_size()) == (NUMBER, ctypes.sizeof(KernelCall))
    except AttributeError:  # of a time before it said so
        return False
