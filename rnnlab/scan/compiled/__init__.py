"""Cells compiled from their own equations: the step traced, its gradient derived, both fused to C++."""

from rnnlab.scan.compiled.support import obstacle, pays, prepare, run, structure, supports

__all__ = ["obstacle", "pays", "prepare", "run", "structure", "supports"]
