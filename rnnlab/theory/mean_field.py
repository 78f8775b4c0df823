"""Mean-field theory of a wide vanilla recurrence with random weights.

Every pre-activation is a zero-mean Gaussian of variance q, and one step multiplies the mean square of the gradient by
χ₁. Both are averages over that Gaussian.
"""

import math
from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import brentq
from torch import Tensor

from rnnlab.cells.activations import ACTIVATIONS, ActivationName
from rnnlab.common.errors import UserError, nearest

Activation = ActivationName | Callable[[Tensor], Tensor]

REACH = 10.0
"""Standard deviations to integrate over; the Gaussian holds 1e-23 beyond."""
LARGE = 1e12
"""A variance above this counts as unbounded."""
SMALL = 1e-12
"""Where the search for a fixed point starts when nothing comes from outside."""


class Moments(NamedTuple):
    """Averages over z ~ N(0, 1).

    Attributes:
        value: E[φ(√q z)²].
        slope: E[φ'(√q z)²].
    """

    value: float
    slope: float


def gaussian_moments(activation: Activation, variance: float) -> Moments:
    """Average φ² and φ'² over a Gaussian pre-activation.

    Gauss-Legendre quadrature on panels. They shrink towards zero on the scale of φ, because the poles of tanh come
    close to the axis when the variance is large and Gauss-Hermite then converges slowly; and they end at 0 and ±1,
    where the piecewise activations of the library have their kinks.

    Args:
        activation: name of φ, or an elementwise function of a tensor with its kinks at 0 and ±2^k.
        variance: q.

    Returns:
        The two averages.

    Raises:
        UserError: if the activation is unknown or has weights of its own.
    """
    scale = math.sqrt(max(variance, 1e-200))  # at zero, the limit from above: relu' is one half on average
    x, weights = _quadrature(scale)
    z = (scale * x).requires_grad_()
    with torch.enable_grad():
        values = _function(activation)(z)
        (slopes,) = torch.autograd.grad(values.sum(), z)
    return Moments(float(weights @ values.detach().square()), float(weights @ slopes.square()))


def fixed_point(activation: Activation, sigma_w: float, sigma_in: float) -> float:
    """Find the variance q* at which the pre-activations settle: q* = σ_w² E[φ(√q* z)²] + σ_in².

    It is the first one that the network meets as q grows from σ_in², where it starts with a hidden state of zero.

    Args:
        activation: name of φ, or a function.
        sigma_w: σ_w, standard deviation of the entries of W_hh times √H.
        sigma_in: σ_in, standard deviation over units of the part of the pre-activation that comes from input and
            biases.

    Returns:
        q*; zero where the activity dies out, and infinity where it grows without end: relu has a finite
        q* = σ_in² / (1 - σ_w²/2) only for σ_w² < 2.

    Reference: Poole et al. 2016, "Exponential Expressivity in Deep Neural Networks through Transient Chaos";
    Chen et al. 2018, "Dynamical Isometry and a Mean Field Theory of RNNs".
    """

    def growth(q: float) -> float:
        return sigma_w**2 * gaussian_moments(activation, q).value + sigma_in**2 - q

    low = max(growth(0.0), SMALL)
    if growth(low) <= 0:
        return 0.0 if low == SMALL else low
    high = low
    while growth(high) > 0:
        if high > LARGE:
            return math.inf
        low, high = high, 2 * high
    return float(brentq(growth, low, high, xtol=1e-300, rtol=1e-13))  # type: ignore[arg-type]


def chi_one(activation: Activation, sigma_w: float, sigma_in: float) -> float:
    """Factor χ₁ = σ_w² E[φ'(√q* z)²] by which one step multiplies the mean square of the gradient.

    Below 1 the gradient vanishes, above it explodes. Where q* is infinite it is the limit for large q: σ_w²/2 for relu.

    Args:
        activation: name of φ, or a function.
        sigma_w: σ_w.
        sigma_in: σ_in.

    Returns:
        χ₁.

    Reference: Poole et al. 2016; Chen et al. 2018.
    """
    return sigma_w**2 * gaussian_moments(activation, min(fixed_point(activation, sigma_w, sigma_in), LARGE)).slope


def mean_field_slope(activation: Activation, sigma_w: float, sigma_in: float) -> float:
    """Predicted slope of log10 ‖dL/dh_t‖ against lag, log10 √χ₁, in decades per step."""
    chi = chi_one(activation, sigma_w, sigma_in)
    return math.log10(chi) / 2 if chi > 0 else -math.inf


def critical_sigma_w(activation: Activation, sigma_in: float) -> float:
    """Find the σ_w at which gradients neither vanish nor explode: where χ₁ crosses 1.

    Where q* becomes infinite at once, as for gelu, χ₁ jumps across 1 there.

    Args:
        activation: name of φ, or a function.
        sigma_in: σ_in.

    Returns:
        σ_w; 1 for tanh without input, and √2 for relu with any.

    Reference: Poole et al. 2016, the line between order and chaos.
    """

    def excess(sigma_w: float) -> float:
        return chi_one(activation, sigma_w, sigma_in) - 1

    high = 1.0
    while excess(high) <= 0:
        high *= 2
    low = high / 2
    while excess(low) > 0:
        low /= 2
    return float(brentq(excess, low, high, xtol=1e-12, rtol=1e-12))  # type: ignore[arg-type]


def _function(activation: Activation) -> Callable[[Tensor], Tensor]:
    if callable(activation):
        return activation
    if activation not in ACTIVATIONS:
        raise UserError(
            f"activation = '{activation}' has no mean-field theory here: {nearest(activation, ACTIVATIONS)}"
        )
    return ACTIVATIONS[activation]


@cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(20)


def _quadrature(scale: float) -> tuple[Tensor, Tensor]:
    """Nodes z and weights of the standard Gaussian, for an integrand that varies with `scale` z on the scale of 1."""
    octaves = 2.0 ** np.arange(-3, 24) / scale
    edges = np.unique(np.concatenate([np.linspace(0, REACH, 21), octaves[octaves < REACH]]))
    edges = np.concatenate([-edges[:0:-1], edges])
    nodes, weights = _legendre()
    half = np.diff(edges)[:, None] / 2
    x = (edges[:-1, None] + half + half * nodes).ravel()
    density = np.exp(-(x**2) / 2) / math.sqrt(2 * math.pi)
    return torch.from_numpy(x), torch.from_numpy((half * weights).ravel() * density)
