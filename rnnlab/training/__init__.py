"""Training: the loop, back-propagation through time whole or truncated, checkpoints."""

from rnnlab.common.interrupts import Interrupted
from rnnlab.training.result import Curve, Result
from rnnlab.training.runs import run

__all__ = ["Curve", "Interrupted", "Result", "run"]
