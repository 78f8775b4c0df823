"""Hidden states and embeddings in two dimensions."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from numpy.typing import ArrayLike
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE

from rnnlab.common.errors import UserError
from rnnlab.plots.style import FAINT, INK, axes, dress, figure_of, legend_below, looks

Method = Literal["pca", "tsne"]
PERPLEXITY = 30
"""Neighbours of a point in t-SNE, or a third of all points where there are fewer."""


def trajectories(
    states: xr.DataArray,
    method: Method = "pca",
    groups: Sequence[str] | None = None,
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw the path of every example's hidden state through time, in two dimensions.

    With groups, hollow marks are first states and filled ones last states; without, every state has a point. PCA keeps
    distances, as far as the two components go; t-SNE keeps neighbourhoods and nothing else, so that its points are not
    joined to paths. t-SNE of a thousand states takes a few seconds: choose some examples.

    Args:
        states: (time, example, unit), from `rnnlab.probes.states.hidden_states`; NaN where there is none.
        method: pca or tsne.
        groups: one name for each example, such as its right answer, to colour it by; by time if not given.
        seed: seeds t-SNE.
        ax: where to draw.

    Returns:
        The axes.

    Raises:
        UserError: if `groups` does not fit.
    """
    values = states.transpose("time", "example", "unit").values
    T, B, _ = values.shape
    if groups is not None and len(groups) != B:
        raise UserError(f"groups has {len(groups)} names for {B} examples: give one for each")
    points = np.full((T, B, 2), np.nan)
    known = np.isfinite(values).all(-1)
    points[known], names = flatten(values[known], method, seed)
    ax = ax or axes(7.2, 5.4)
    if groups is None:
        _by_time(ax, points, states["time"].values, joined=method == "pca")
    else:
        _by_group(ax, points, groups)
    dress(ax, f"Trajectories of the state {states.name or ''}".rstrip(), *names)
    return ax


def embeddings(
    vectors: ArrayLike,
    symbols: Sequence[str],
    groups: Sequence[str] | None = None,
    method: Method = "tsne",
    seed: int = 0,
    ax: Axes | None = None,
) -> Axes:
    """Draw learned vectors of symbols in two dimensions, each with its name.

    Args:
        vectors: (N, E), a row a symbol, such as the detached weight of an embedding.
        symbols: N names.
        groups: the kind of each symbol, to colour it by.
        method: pca or tsne.
        seed: seeds t-SNE.
        ax: where to draw.

    Returns:
        The axes. Near in t-SNE means alike; distances between far ones mean nothing.

    Raises:
        UserError: if the numbers of vectors, names and kinds differ.
    """
    values = np.asarray(vectors, float)
    for given, what in ((symbols, "symbols"), (groups, "groups")):
        if given is not None and len(given) != len(values):
            raise UserError(f"{what} has {len(given)} names for {len(values)} vectors: give one for each")
    points, names = flatten(values, method, seed)
    kinds = ["symbol"] * len(points) if groups is None else list(groups)
    ax = ax or axes(7.2, 5.6)
    for kind, look in looks(kinds).items():
        some = points[[k == kind for k in kinds]]
        ax.plot(*some.T, color=look.color, marker=look.marker, linestyle="none", markersize=5.5, label=kind)
    for (x, y), symbol in zip(points, symbols, strict=True):
        ax.annotate(symbol, (x, y), (4, 3), textcoords="offset points", fontsize=8, color=INK)
    ax.margins(x=0.08)
    dress(ax, "Embeddings", *names)
    if groups is not None:
        legend_below(ax, ax.get_lines(), columns=4)
    return ax


def flatten(values: np.ndarray, method: Method, seed: int) -> tuple[np.ndarray, tuple[str, str]]:
    """Map (N, D) points to two dimensions; returns (N, 2) points and the names of the axes."""
    if len(values) < 3:
        raise UserError(f"{len(values)} points are too few for two dimensions: give at least 3")
    if method == "pca":
        pca = PCA(2, svd_solver="full")
        points = pca.fit_transform(values)
        first, second = (
            f"PC {k} ({share:.0%} of the variance)" for k, share in enumerate(pca.explained_variance_ratio_, 1)
        )
        return points, (first, second)
    if method == "tsne":
        perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
        tsne = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
        return tsne.fit_transform(values), ("t-SNE 1 (no unit)", "t-SNE 2 (no unit)")
    raise UserError(f"method = '{method}' is unknown: choose from pca, tsne")


def _by_time(ax: Axes, points: np.ndarray, time: np.ndarray, joined: bool) -> None:
    """A point a step, coloured by time, with a grey path where distances mean something."""
    for path in points.swapaxes(0, 1) if joined else ():
        ax.plot(*path.T, color=FAINT, linewidth=0.6, alpha=0.5)
    when = np.broadcast_to(time[:, None], points.shape[:2])
    marks = ax.scatter(*points.reshape(-1, 2).T, c=when.ravel(), cmap="viridis", s=9, zorder=3)
    bar = figure_of(ax).colorbar(marks, ax=ax, pad=0.02)
    bar.set_label("time step")
    bar.outline.set_visible(False)  # type: ignore[operator]


def _by_group(ax: Axes, points: np.ndarray, groups: Sequence[str]) -> None:
    """Paths in the colour of their group, with first and last state marked."""
    arms = looks(sorted(set(groups)))
    for path, name in zip(points.swapaxes(0, 1), groups, strict=True):
        look, seen = arms[name], path[np.isfinite(path).all(-1)]
        ax.plot(*path.T, color=look.color, linewidth=0.8, alpha=0.45)
        ax.plot(*seen[0], color=look.color, marker=look.marker, markersize=6, markerfacecolor="white", zorder=3)
        ax.plot(*seen[-1], color=look.color, marker=look.marker, markersize=7, markeredgecolor="white", zorder=4)
    handles = [
        ax.plot([], [], color=look.color, marker=look.marker, linewidth=1, label=name)[0] for name, look in arms.items()
    ]
    legend_below(ax, handles, columns=4)
