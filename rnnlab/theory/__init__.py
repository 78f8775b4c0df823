"""What theory predicts for a configuration, to be set beside what was measured."""

from rnnlab.theory.bound import STEEPEST, step_bound
from rnnlab.theory.gates import Leak, leak_from_bias, leak_from_chrono, leak_from_gates
from rnnlab.theory.linear import is_scaled_orthogonal, log10_product_norms, spectral_radius
from rnnlab.theory.mean_field import chi_one, critical_sigma_w, fixed_point, gaussian_moments, mean_field_slope
from rnnlab.theory.prediction import Prediction, predict
from rnnlab.theory.rest import log10_rest_profile, rest_jacobian
from rnnlab.theory.truncation import relative_bias_bound, scalar_relative_bias

__all__ = [
    "STEEPEST",
    "Leak",
    "Prediction",
    "chi_one",
    "critical_sigma_w",
    "fixed_point",
    "gaussian_moments",
    "is_scaled_orthogonal",
    "leak_from_bias",
    "leak_from_chrono",
    "leak_from_gates",
    "log10_product_norms",
    "log10_rest_profile",
    "mean_field_slope",
    "predict",
    "relative_bias_bound",
    "rest_jacobian",
    "scalar_relative_bias",
    "spectral_radius",
    "step_bound",
]
