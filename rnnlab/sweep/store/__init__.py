"""Where a sweep keeps its state."""
