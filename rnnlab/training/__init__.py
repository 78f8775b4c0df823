"""Training: the loop, back-propagation through time whole or truncated, checkpoints."""

from rnnlab.common.interrupts import Interrupted
from rnnlab.training.loop import run
from rnnlab.training.result import Curve, Result

__all__ = ["Curve", "Interrupted", "Result", "run"]
