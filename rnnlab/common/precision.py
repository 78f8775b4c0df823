"""Arithmetic of GPUs: whole float32, not the ten bits of TF32 that cuDNN takes for recurrent layers unless told."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def whole_float32() -> Iterator[None]:
    """Keep cuDNN's recurrent layers from TF32, in this process, until the block ends."""
    rnn: Any = torch.backends.cudnn.rnn
    before, rnn.fp32_precision = rnn.fp32_precision, "ieee"
    try:
        yield
    finally:
        rnn.fp32_precision = before
