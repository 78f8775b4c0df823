"""Cells compiled from their own equations: the step traced, its gradient derived, both fused to C++."""
