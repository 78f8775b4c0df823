"""How much one step of a vanilla recurrence can at most stretch the gradient."""

import math

from rnnlab.cells.activations import ActivationName

STEEPEST: dict[ActivationName, float] = {
    "identity": 1.0,
    "tanh": 1.0,
    "sigmoid": 0.25,
    "relu": 1.0,
    "leaky_relu": 1.0,
    "elu": 1.0,
    "softsign": 1.0,
    "softplus": 1.0,
    "gelu": (1 + math.erf(1)) / 2 + 1 / (math.e * math.sqrt(math.pi)),  # at z = √2, where φ'' is zero
    "hard_tanh": 1.0,
    "erf": 2 / math.sqrt(math.pi),
    "modrelu": 1.0,  # wherever it has a derivative; a positive bias makes it jump at zero
}
"""γ of every activation: the largest |φ'|."""


def step_bound(activation: ActivationName, spectral_norm: float, residual: float | None = None) -> float:
    """Bound the spectral norm of the Jacobian of one step, dh_t/dh_{t-1}.

    Its log10 bounds the slope of the profile, in decades per step of lag. A value below 1 is sufficient for the
    gradient to vanish; without residual connection that is σ_max < 1/γ. A value above 1 decides nothing.

    Args:
        activation: name of φ.
        spectral_norm: σ_max, the largest singular value of W_hh.
        residual: α of h_t = h_{t-1} + α φ(·); none is the plain recurrence.

    Returns:
        γ σ_max, or 1 + α γ σ_max with a residual connection.

    Reference: Pascanu et al. 2013, "On the Difficulty of Training Recurrent Neural Networks", eq. 6 and 7; the
    residual form follows from the triangle inequality.
    """
    bound = STEEPEST[activation] * spectral_norm
    return bound if residual is None else 1 + residual * bound
