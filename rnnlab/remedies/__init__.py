"""Remedies: what is done against gradients that vanish or explode, one a file, each a value with its behaviour."""

from rnnlab.remedies.base import (
    Changed,
    Gradient,
    Penalty,
    Remedy,
    Unrolled,
    Window,
    change,
    change_gradients,
    cut_into_windows,
)
from rnnlab.remedies.registry import REMEDIES, register

__all__ = [
    "REMEDIES",
    "Changed",
    "Gradient",
    "Penalty",
    "Remedy",
    "Unrolled",
    "Window",
    "change",
    "change_gradients",
    "cut_into_windows",
    "register",
]
