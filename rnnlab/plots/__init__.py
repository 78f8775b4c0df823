"""Every figure, once, for notebooks, reports and MLflow alike.

Each function takes its data first, arrays of one run or the runs of a sweep, draws on the axes it is given (`ax=`), or
on a figure of its own that pyplot knows nothing of, so that workers can draw too, and returns the axes; `heatmaps`
takes and returns several, one a panel. In a notebook, `rnnlab.plots.heatmap(profile).figure` shows it.
"""

from rnnlab.plots.arms import ablation_forest, decay_by_arm, lr_sensitivity
from rnnlab.plots.bias import bias_by_window
from rnnlab.plots.eigen import spectrum
from rnnlab.plots.evidence import health_scatter, solve_curves, win_matrix
from rnnlab.plots.flow import gradient_flow
from rnnlab.plots.gates import gate_map, saturation_map
from rnnlab.plots.heat import heatmap, heatmaps
from rnnlab.plots.lag import compare_lags, lag_plot
from rnnlab.plots.lengths import success_by_length
from rnnlab.plots.ridge import ridges
from rnnlab.plots.seeds import lag_over_seeds
from rnnlab.plots.states import embeddings, trajectories
from rnnlab.plots.style import save

__all__ = [
    "ablation_forest",
    "bias_by_window",
    "compare_lags",
    "decay_by_arm",
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
