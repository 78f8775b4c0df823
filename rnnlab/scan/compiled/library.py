"""The libraries of compiled cells: one that takes any step through time, and one for the step of each cell."""

import ctypes
import functools
from pathlib import Path

import torch

from rnnlab.scan import rows
from rnnlab.scan.compiled import calls
from rnnlab.scan.native import build

HERE = Path(__file__).parent
FOLDERS = (HERE, HERE.parent / "native")


@functools.cache
def scan_library() -> ctypes.CDLL:
    """The library that takes a step through time.

    Raises:
        OSError: if it cannot be compiled.
    """
    path = build.compiled(build.Source("steps", (HERE / "steps.cpp").read_text(), FOLDERS))
    library = ctypes.CDLL(str(path))
    if (library.layout_number(), library.call_size()) != (calls.NUMBER, ctypes.sizeof(calls.CompiledCall)):
        raise OSError(f"{path} reads a call in another way than rnnlab/scan/compiled/calls.py writes it: remove it")
    rows.offer(library)
    return library


@functools.cache
def lanes(dtype: torch.dtype) -> int:
    """Values in one vector."""
    return scan_library().lanes(dtype == torch.float64)


@functools.cache
def step_library(source: str, dtype: torch.dtype) -> ctypes.CDLL:
    """The library of one cell's step.

    Args:
        source: its C++.
        dtype: float32 or float64.

    Raises:
        OSError: if it cannot be compiled.
    """
    real = "double" if dtype == torch.float64 else "float"
    return ctypes.CDLL(str(build.compiled(build.Source("step", f"#define REAL {real}\n{source}", FOLDERS))))
