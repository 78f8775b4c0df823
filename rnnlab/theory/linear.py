"""Linear recurrences, where the decay is a property of the matrix alone."""

from collections.abc import Iterable

import numpy as np


def spectral_radius(matrix: np.ndarray) -> float:
    """Largest modulus of an eigenvalue of an (H, H) matrix.

    Its log10 is the slope, in decades per step, that the profile of a linear recurrence reaches at long lags; before,
    a matrix that is not normal can first grow.

    Reference: Gelfand's formula, ‖Wᵏ‖^(1/k) → ρ(W).
    """
    return float(np.abs(np.linalg.eigvals(matrix)).max())


def is_scaled_orthogonal(matrix: np.ndarray) -> bool:
    """Whether the (H, H) matrix is ρQ with an orthogonal Q, so that it multiplies every norm by exactly ρ.

    Rounding of single-precision weights is forgiven.

    Reference: Saxe et al. 2014, "Exact Solutions to the Nonlinear Dynamics of Learning in Deep Linear Neural Networks".
    """
    values = np.linalg.svd(matrix, compute_uv=False)
    return bool(values[0] - values[-1] <= 1e-4 * values[0])


def log10_product_norms(jacobians: Iterable[np.ndarray]) -> np.ndarray:
    """log10 of the spectral norm of every partial product J_1, J_1 J_2, ..., none of which overflows.

    Args:
        jacobians: K matrices, (H, H) each; the same one again and again for a linear recurrence.

    Returns:
        (K,); minus infinity once the product is zero.
    """
    product, decades, norms = None, 0.0, []
    for jacobian in jacobians:
        product = np.asarray(jacobian, np.float64) if product is None else product @ jacobian
        norm = float(np.linalg.norm(product, 2))
        if norm > 0:
            product = product / norm
        with np.errstate(divide="ignore"):
            decades += np.log10(norm)
        norms.append(decades)
    return np.array(norms)
