"""Cells compiled from their own equations: the step traced, its gradient derived, both fused to C++."""

from rnnlab.scan.compiled.operation import run
from rnnlab.scan.compiled.support import pays, prepare, supports

__all__ = ["pays", "prepare", "run", "supports"]
