"""How wrong the gradient of truncated back-propagation is."""

import math

import numpy as np

from rnnlab.common.errors import UserError


def scalar_relative_bias(decay: float, window: int, length: int) -> float:
    """Relative bias of the truncated gradient of a scalar linear recurrence with constant input.

    The gradient of the last state in the input weight is the sum of λ^k over all lags k < T; truncation keeps k < K.

    Args:
        decay: λ, what one step multiplies the state by; positive.
        window: K, steps that the truncated gradient goes back, at least one.
        length: T, steps of the sequence.

    Returns:
        (λ^K - λ^T) / (1 - λ^T), the missing share: 0 for the full window; (T - K) / T in the limit λ = 1.

    Raises:
        UserError: if `decay` is not positive or `window` is not between 1 and `length`.
    """
    if decay <= 0:
        raise UserError(f"decay = {decay} is not positive: give the factor of one step, such as 0.9")
    if not 1 <= window <= length:
        raise UserError(f"window = {window} is outside the sequence: choose one between 1 and length = {length}")
    rate = math.log(decay)
    if rate == 0:
        return 1 - window / length
    if rate > 0:  # the same quotient times λ^-T, which does not overflow
        return math.expm1(-rate * (length - window)) / math.expm1(-rate * length)
    return math.exp(rate * window) * math.expm1(rate * (length - window)) / math.expm1(rate * length)


def relative_bias_bound(
    log10_mean_norms: np.ndarray, truncated_norms: np.ndarray, tail_slope: float, sensitivity: float = 1.0
) -> np.ndarray:
    """Bound the relative bias δ(K) of truncated back-propagation from a measured decay.

    δ(K) ≤ E(K) / (‖E ĝ_K‖ - E(K)), where E(K) = M Σ E‖dL_s/dh_{s-k}‖ over the lags k ≥ K that are cut off.

    Args:
        log10_mean_norms: (N,) log10 of the mean norm of the gradient of a single step's loss in the state k steps
            earlier, k = 0 to N - 1: `log10_mean_lagged_norm` of the probe `lagged`. The mean of logarithms would be too
            small to bound anything where few answers remember far.
        truncated_norms: (N,) ‖E ĝ_K‖, norm of the mean truncated gradient of the weights, K = 1 to N steps kept.
        tail_slope: decades per step with which the norms go on beyond the last lag; zero or more leaves no bound.
        sensitivity: M, an upper bound of ‖dh_t/dθ‖ with the previous state held fixed.

    Returns:
        (N,) bounds for K = 1 to N; infinite where nothing can be said.

    Reference: Aicher et al. 2019, "Adaptively Truncating Backpropagation Through Time to Control Gradient Bias",
    Theorem 1, which counts K from lag zero.
    """
    norms, beta = 10.0 ** np.asarray(log10_mean_norms, np.float64), 10**tail_slope
    beyond = norms[-1] * beta / (1 - beta) if beta < 1 else math.inf
    kept_out = np.append(np.cumsum(norms[:0:-1])[::-1], 0.0)  # lags K .. N - 1
    error = sensitivity * (kept_out + beyond)
    room = np.asarray(truncated_norms) - error
    return np.divide(error, room, out=np.full(len(norms), math.inf), where=room > 0)
