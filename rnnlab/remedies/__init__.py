"""Remedies: what acts on gradients and windows, one a file, each a frozen value with its behaviour."""
