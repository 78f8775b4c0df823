"""Training: the loop, back-propagation through time whole or truncated, clipping, checkpoints, seeding."""
