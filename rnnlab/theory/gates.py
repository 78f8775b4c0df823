"""How fast a gated cell forgets through its gate alone."""

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike

from rnnlab.probes.gates import log10_sigmoid


class Leak(NamedTuple):
    """Decay along the gated path, where one step multiplies the state by a gate f.

    Attributes:
        slope: mean of log10 f over units, in decades per step; its power of ten is the typical gate.
    """

    slope: float

    @property
    def half_life(self) -> float:
        """Steps after which the typical gate has halved the state; infinite where it never forgets."""
        return math.log10(2) / -self.slope if self.slope else math.inf


def leak_from_bias(bias: ArrayLike) -> Leak:
    """Predict the leak from the gate's bias, f = σ(b).

    Args:
        bias: the bias, or one for each unit. For a gate that lets the new value in, as in h_t = h_{t-1} + z (n -
            h_{t-1}), it is minus the bias.

    Returns:
        The leak.

    Reference: Tallec and Ollivier 2018, "Can Recurrent Neural Networks Warp Time?", section 3.
    """
    return Leak(float(log10_sigmoid(torch.as_tensor(np.asarray(bias))).mean()))


def leak_from_chrono(longest: float) -> Leak:
    """Predict the leak under chrono biases b = ln u, u ~ U(1, T_max - 1), where f = u / (1 + u).

    The mean of ln f is an elementary integral.

    Args:
        longest: T_max, in steps; above 2.

    Returns:
        The leak of the typical unit; the slow units carry the gradient much further.

    Reference: Tallec and Ollivier 2018, section 3.
    """
    m = longest - 1
    mean = (m * math.log(m) - (m + 1) * math.log(m + 1) + 2 * math.log(2)) / (m - 1)
    return Leak(mean / math.log(10))


def leak_from_gates(gates: ArrayLike) -> Leak:
    """Measure the leak of recorded gate values.

    Args:
        gates: values of f between 0 and 1, any shape; NaN where not measured.

    Returns:
        The leak; a gate that is exactly zero makes the slope minus infinity.
    """
    with np.errstate(divide="ignore"):
        return Leak(float(np.nanmean(np.log10(np.asarray(gates, np.float64)))))
