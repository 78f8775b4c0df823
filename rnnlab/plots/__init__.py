"""Every figure, once, for notebooks, reports and MLflow alike.

Each function takes its data first, arrays of one run or the runs of a sweep, draws on the axes it is given (`ax=`), or
on a figure of its own that pyplot knows nothing of, so that workers can draw too, and returns the axes; `heatmaps`
takes and returns several, one a panel. In a notebook, `rnnlab.plots.heatmap(profile).figure` shows it.

Modules are imported on first use: a run draws two of these figures and needs nothing of the others.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnlab.plots.arms import ablation_forest, decay_by_arm, lr_sensitivity
    from rnnlab.plots.bias import bias_by_window
    from rnnlab.plots.contrast import difference_forest
    from rnnlab.plots.eigen import spectrum
    from rnnlab.plots.evidence import health_scatter, solve_curves, win_matrix
    from rnnlab.plots.flow import gradient_flow
    from rnnlab.plots.gates import gate_map, saturation_map
    from rnnlab.plots.heat import heatmap, heatmaps
    from rnnlab.plots.lag import compare_lags, lag_plot
    from rnnlab.plots.lengths import success_by_length
    from rnnlab.plots.matrix import arms_matrix
    from rnnlab.plots.ridge import ridges
    from rnnlab.plots.seeds import lag_over_seeds
    from rnnlab.plots.states import embeddings, trajectories
    from rnnlab.plots.style import save

_HOME = {
    "ablation_forest": "rnnlab.plots.arms",
    "decay_by_arm": "rnnlab.plots.arms",
    "lr_sensitivity": "rnnlab.plots.arms",
    "bias_by_window": "rnnlab.plots.bias",
    "difference_forest": "rnnlab.plots.contrast",
    "spectrum": "rnnlab.plots.eigen",
    "health_scatter": "rnnlab.plots.evidence",
    "solve_curves": "rnnlab.plots.evidence",
    "win_matrix": "rnnlab.plots.evidence",
    "gradient_flow": "rnnlab.plots.flow",
    "gate_map": "rnnlab.plots.gates",
    "saturation_map": "rnnlab.plots.gates",
    "heatmap": "rnnlab.plots.heat",
    "heatmaps": "rnnlab.plots.heat",
    "compare_lags": "rnnlab.plots.lag",
    "lag_plot": "rnnlab.plots.lag",
    "success_by_length": "rnnlab.plots.lengths",
    "arms_matrix": "rnnlab.plots.matrix",
    "ridges": "rnnlab.plots.ridge",
    "lag_over_seeds": "rnnlab.plots.seeds",
    "embeddings": "rnnlab.plots.states",
    "trajectories": "rnnlab.plots.states",
    "save": "rnnlab.plots.style",
}

__all__ = [
    "ablation_forest",
    "arms_matrix",
    "bias_by_window",
    "compare_lags",
    "decay_by_arm",
    "difference_forest",
    "embeddings",
    "gate_map",
    "gradient_flow",
    "health_scatter",
    "heatmap",
    "heatmaps",
    "lag_over_seeds",
    "lag_plot",
    "lr_sensitivity",
    "ridges",
    "saturation_map",
    "save",
    "solve_curves",
    "spectrum",
    "success_by_length",
    "trajectories",
    "win_matrix",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rnnlab.plots' has no attribute '{name}'")
    found = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = found  # a module of this name would take its place
    return found
