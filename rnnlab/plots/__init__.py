"""Every figure, once, for notebooks, reports and MLflow alike.

Each function draws on the axes it is given, or on a figure of its own that pyplot knows nothing of, so that
workers can draw too. In a notebook, `rnnlab.plots.heatmap(profile).figure` shows it.
"""

from rnnlab.plots.arms import ablation_forest, decay_by_arm, lr_sensitivity
from rnnlab.plots.evidence import health_scatter, solve_curves, win_matrix
from rnnlab.plots.profiles import compare_lags, heatmap, lag_plot
from rnnlab.plots.style import save

__all__ = [
    "ablation_forest",
    "compare_lags",
    "decay_by_arm",
    "health_scatter",
    "heatmap",
    "lag_plot",
    "lr_sensitivity",
    "save",
    "solve_curves",
    "win_matrix",
]
