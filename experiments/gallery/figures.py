"""The figures of the gallery: a function each, whose arguments name its data, and whose docstring explains it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from torch import Tensor

from rnnlab import plots
from rnnlab.config.config import Config
from rnnlab.tasks import Batch
from rnnlab.theory import predict
from rnnlab.training.bias import bias_by_window as compare_windows
from rnnlab.training.models import SequenceModel
from rnnlab.training.result import Result

TASK = "delayed_recall-40"
Drawn = Axes | np.ndarray


def heatmap(profile: xr.Dataset) -> Drawn:
    """Total gradient norm at every time step (across) of every recorded training step (upwards): the loss sits at the
    right edge, and dark means that little of it reaches that far back."""
    return plots.heatmap(profile)


def heatmaps(profiles: dict[str, xr.Dataset]) -> Drawn:
    """The same for several networks in the same colours; hatched was not measured, as beyond the truncation window."""
    return plots.heatmaps(profiles)


def ridges(profile: xr.Dataset) -> Drawn:
    """Norm against lag, one ridge a training step, the first lowest: a ridge that slopes down to the right loses its
    gradient with distance."""
    return plots.ridges(profile)


def gradient_flow(profile: xr.Dataset) -> Drawn:
    """The network unrolled in time, before training: the wider and darker an arrow, the more gradient arrives at the
    state that it points to."""
    return plots.gradient_flow(profile, step=0)


def lag_plot(profile: xr.Dataset) -> Drawn:
    """Norm against lag at the first, the middle and the last recorded training step: straight lines are exponential
    decay, whose rate and half-life the legend gives."""
    return plots.lag_plot(profile)


def lag_over_seeds(seeds: Sequence[xr.Dataset], config: Config) -> Drawn:
    """Mean norm over seeds with its 95% interval, beside the slopes that theory predicts before training: an estimate
    should run along the measured line, a bound above it."""
    return plots.lag_over_seeds(seeds, predict(config))


def compare_lags(profiles: dict[str, xr.Dataset]) -> Drawn:
    """Norm against lag of several networks before training, the slowest decay first in the legend."""
    return plots.compare_lags(profiles, step=0)


def gate_map(probes: xr.Dataset) -> Drawn:
    """How far the gates of the top layer are open at every time step, with a row for each probed training step."""
    return plots.gate_map(probes)


def saturation_map(probes: xr.Dataset) -> Drawn:
    """The share of units whose non-linearity has become flat, so that hardly any gradient passes."""
    return plots.saturation_map(probes)


def spectrum(network: SequenceModel) -> Drawn:
    """Eigenvalues of the recurrent matrix beside the unit circle, singular values as ticks on the real axis: inside
    the circle gradients shrink, outside they may grow."""
    return plots.spectrum(network)


def trajectories_pca(states: xr.DataArray, bits: Sequence[str]) -> Drawn:
    """How the hidden state moves through time, in its two principal components: the paths part once the network has
    read the bit that it has to keep, and stay apart as long as it does."""
    return plots.trajectories(states, groups=bits)


def trajectories_tsne(states: xr.DataArray) -> Drawn:
    """The same states by t-SNE, coloured by time: neighbours are alike, far distances mean nothing."""
    return plots.trajectories(states, method="tsne")


def embeddings(embedding: Tensor, words: Sequence[str], kinds: Sequence[str]) -> Drawn:
    """The trained embedding of every word, by t-SNE: neighbours are alike, far distances mean nothing. Words of one
    kind lie together only in part."""
    return plots.embeddings(embedding, words, kinds)


def bias_by_window(model: SequenceModel, gru: Result, batch: Batch) -> Drawn:
    """How wrong the gradient is that truncated back-propagation uses: with the full window bias is 0, cosine 1."""
    bias = compare_windows(model, gru.config.task, batch, [1, 2, 5, 10, 20, 50])
    return plots.bias_by_window(bias)


def success_by_length(runs: pd.DataFrame) -> Drawn:
    """The share of fresh seeds that solve a task, the longer it gets, with Wilson's 95% intervals."""
    return plots.success_by_length(runs)


def arms_matrix(runs: pd.DataFrame) -> Drawn:
    """Every arm on every task: the share of fresh seeds that solve it, their updates, or how gradients decay."""
    return plots.arms_matrix(runs)


def ablation_forest(runs: pd.DataFrame) -> Drawn:
    """Score of every arm over fresh seeds with its 95% interval, the best on top, between baseline and criterion."""
    return plots.ablation_forest(runs.query("task == @TASK"))


def lr_sensitivity(runs: pd.DataFrame) -> Drawn:
    """Score of every search trial against its learning rate: an arm whose best point lies at the edge wants a wider
    range. Trials that have no score to draw, since they diverged or were pruned, would be marked above the axes."""
    return plots.lr_sensitivity(runs.query("task == @TASK"))


def solve_curves(runs: pd.DataFrame) -> Drawn:
    """The share of runs that have solved the task after so many updates, with 95% bounds."""
    return plots.solve_curves(runs.query("task == @TASK"))


def win_matrix(runs: pd.DataFrame) -> Drawn:
    """The chance that a run of one arm beats a run of another; a star marks what is clear after correction."""
    return plots.win_matrix(runs.query("task == @TASK"))


def difference_forest(runs: pd.DataFrame, longer: pd.DataFrame) -> Drawn:
    """Two sweeps: by how much each arm of B, which trains twice as long, is better than in A, seed by seed, with its
    95% interval. `rnnlab compare A B --out FOLDER` draws it for every task."""
    return plots.difference_forest(runs.query("task == @TASK"), longer.query("task == @TASK"))


def decay_by_arm(runs: pd.DataFrame) -> Drawn:
    """How many decades the gradient loses a step of lag in every final run, before and after training."""
    return plots.decay_by_arm(runs.query("task == @TASK"))


def health_scatter(runs: pd.DataFrame) -> Drawn:
    """Score of every run against how its gradient decays early in training: does one foretell the other?"""
    return plots.health_scatter(runs.query("task == @TASK"), "decay_rate_early")


FIGURES = (
    heatmap, heatmaps, ridges, gradient_flow, lag_plot, lag_over_seeds, compare_lags, gate_map, saturation_map,
    spectrum, trajectories_pca, trajectories_tsne, embeddings, bias_by_window, success_by_length, arms_matrix,
    ablation_forest, lr_sensitivity, solve_curves, win_matrix, difference_forest, decay_by_arm,
    health_scatter,
)  # fmt: skip
