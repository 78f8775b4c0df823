"""Stacks and directions of one cell, called like torch.nn: drop-in twins, conversion, starting values."""
