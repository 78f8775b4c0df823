"""Arithmetic of GPUs: whole float32, not the ten bits of TF32 that cuDNN takes for recurrent layers unless told."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

_lock = threading.Lock()
_inside: list[str] = []
"""What the setting was before the first of the blocks that are open, in any thread, once for each of them."""


@contextmanager
def whole_float32() -> Iterator[None]:
    """Keep cuDNN's recurrent layers from TF32, in this process, until the last such block of any thread ends."""
    rnn: Any = torch.backends.cudnn.rnn
    with _lock:
        _inside.append(_inside[0] if _inside else rnn.fp32_precision)
        rnn.fp32_precision = "ieee"
    try:
        yield
    finally:
        with _lock:
            before = _inside.pop()
            if not _inside:
                rnn.fp32_precision = before
