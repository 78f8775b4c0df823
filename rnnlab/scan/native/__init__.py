"""Hand-written kernels for the hot cells on the CPU: the scan of `rnnlab.scan.reference`, several times faster."""

from rnnlab.scan.native.layer import run
from rnnlab.scan.native.support import pays, prepare, serves, supports

__all__ = ["pays", "prepare", "run", "serves", "supports"]
