"""Process-wide settings of torch that a run needs, put back when it is over."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from rnnlab.common.precision import whole_float32


@contextmanager
def torch_settings(threads: int) -> Iterator[None]:
    """Use the given number of threads, flush denormal numbers to zero, follow gradients, and have no GPU round to TF32.

    Vanishing gradients become denormals, and arithmetic on denormals is many times slower on most CPUs; below
    1e-38 (float32) a gradient therefore counts as exactly zero. Where a dtype is not named it is float32, whatever
    the script around has chosen.

    Args:
        threads: threads inside torch's operators.
    """
    before, flushed, dtype = torch.get_num_threads(), _flushes_denormals(), torch.get_default_dtype()
    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    torch.set_default_dtype(torch.float32)
    try:
        with whole_float32(), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_flush_denormal(flushed)
        torch.set_num_threads(before)


def _flushes_denormals() -> bool:
    return float(torch.tensor([1e-38], dtype=torch.float32) * 0.1) == 0.0
