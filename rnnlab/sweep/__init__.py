"""Sweeps: what is compared, how it is searched, run exactly once, counted and reported."""
