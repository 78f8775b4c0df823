"""Memory that is used again: fresh pages from the system cost as much as the arithmetic done in them."""

import math
import threading
import weakref

import numpy as np
import torch
from torch import Tensor

SMALLEST = 1 << 16
"""Bytes below which torch's own allocator is as good."""

ALIGNMENT = 64
"""Bytes of a cache line, and of the widest vector."""
SLACK = 1.5
"""A step's tensors overlap a little with those of the step before, which are let go when the new ones replace them."""


class BufferPool:
    """Blocks of memory that come back by themselves when torch lets go of the tensor made from them.

    A block is free when nothing refers to its storage: no tensor, no view, no saved activation of a graph that is
    still alive. Used and free together never exceed `SLACK` times what was once in use at the same moment.
    """

    def __init__(self) -> None:
        self._free: list[np.ndarray] = []
        self._used = self._most = 0
        self._lock = threading.RLock()  # a finaliser may run in a thread that holds it

    def empty(self, *shape: int, dtype: torch.dtype) -> Tensor:
        """A contiguous tensor with arbitrary contents."""
        size = math.prod(shape) * dtype.itemsize
        if size < SMALLEST:
            return torch.empty(shape, dtype=dtype, device="cpu")
        with self._lock:
            block = self._take(size)
            start = -block.ctypes.data % ALIGNMENT
            lease = block[start : start + size]
            weakref.finalize(lease, self._give_back, block).atexit = False
        # Not a view of the block: autograd would refuse to let the user change it in place.
        return torch.empty(0, dtype=dtype, device="cpu").set_(torch.from_numpy(lease).untyped_storage(), 0, shape)  # type: ignore[call-overload]

    def held(self) -> int:
        """Bytes that lie free."""
        return sum(block.nbytes for block in self._free)

    def clear(self) -> None:
        """Give what is free back to the system."""
        with self._lock:
            self._free.clear()
            self._most = self._used

    def _take(self, size: int) -> np.ndarray:
        fits = [i for i, block in enumerate(self._free) if size + ALIGNMENT <= block.nbytes <= 2 * (size + ALIGNMENT)]
        if fits:
            block = self._free.pop(min(fits, key=lambda i: self._free[i].nbytes))
        else:
            while self._free and self._used + size + self.held() > SLACK * self._most:
                self._free.pop(0)
            block = np.empty(size + ALIGNMENT, dtype=np.uint8)
        self._used += block.nbytes
        self._most = max(self._most, self._used)
        return block

    def _give_back(self, block: np.ndarray) -> None:
        with self._lock:
            self._used -= block.nbytes
            self._free.append(block)


pool = BufferPool()
