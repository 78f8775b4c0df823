"""Trajectories and embeddings: every known state is a point, and PCA keeps the distances of what is flat."""

import numpy as np
import pytest
import torch
import xarray as xr
from drawn import legend, xs, ys
from scipy.spatial.distance import pdist

import rnnlab
from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.probes.states import hidden_states

T, B = 8, 5


def states(seed: int = 0) -> xr.DataArray:
    """A random walk in a plane of a space of six units."""
    generator = np.random.default_rng(seed)
    plane = np.linalg.qr(generator.normal(size=(6, 2)))[0]
    walk = generator.normal(size=(T, B, 2)).cumsum(0) @ plane.T
    return xr.DataArray(walk, {"time": np.arange(T)}, ("time", "example", "unit"), "h")


def test_hidden_states_are_those_the_layer_put_out():
    net = rnnlab.LSTM(2, 6)
    x = torch.randn(T, B, 2)
    with rnnlab.trace(net) as tape:
        output, _ = net(x)
        output[-1].sum().backward()
    read = hidden_states(tape.traces[0])
    np.testing.assert_allclose(read.transpose("time", "example", "unit"), output.detach(), atol=1e-6)
    with pytest.raises(UserError, match="state = 'z' does not exist: choose from h, c"):
        hidden_states(tape.traces[0], "z")


def test_a_padded_step_has_no_state_and_no_point():
    net = rnnlab.GRU(2, 6)
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.randn(T, 2, 2), torch.tensor([T, 3]))
    with rnnlab.trace(net) as tape:
        net(packed)[1].sum().backward()
    read = hidden_states(tape.traces[0])
    assert np.isnan(read.isel(example=1, time=slice(3, None))).all() and np.isfinite(read.isel(example=0)).all()
    ax = plots.trajectories(read, groups=["long", "short"])
    paths = [np.array(line.get_xydata()) for line in ax.lines if len(xs(line)) == T]
    assert [int(np.isfinite(path).all(1).sum()) for path in paths] == [T, 3]


def test_pca_keeps_the_distances_of_states_that_lie_in_a_plane():
    data = states()
    ax = plots.trajectories(data)
    points = np.array(ax.collections[0].get_offsets())  # time by time
    np.testing.assert_allclose(pdist(points), pdist(data.values.reshape(T * B, -1)), atol=1e-8)
    np.testing.assert_array_equal(ax.collections[0].get_array(), np.repeat(np.arange(T), B))
    shares = [float(label.split("(")[1].split("%")[0]) for label in (ax.get_xlabel(), ax.get_ylabel())]
    assert sum(shares) == pytest.approx(100, abs=1)


def test_examples_take_the_colour_of_their_group_and_mark_first_and_last_state():
    ax = plots.trajectories(states(), groups=["a", "b", "a", "b", "b"])
    colors = [line.get_color() for line in ax.lines if len(xs(line)) == T]
    assert colors[0] == colors[2] != colors[1] == colors[3] == colors[4] and legend(ax) == ["a", "b"]
    paths = [line for line in ax.lines if len(xs(line)) == T]
    marks = [line for line in ax.lines if len(xs(line)) == 1]
    for path, first, last in zip(paths, marks[::2], marks[1::2], strict=True):
        assert (xs(path)[0], ys(path)[0]) == (xs(first)[0], ys(first)[0]) and first.get_markerfacecolor() == "white"
        assert (xs(path)[-1], ys(path)[-1]) == (xs(last)[0], ys(last)[0]) and last.get_markerfacecolor() != "white"


def test_tsne_is_the_same_each_time_and_keeps_neighbours_together():
    vectors = np.concatenate([np.random.default_rng(0).normal(c, 0.1, (8, 4)) for c in (-5, 5)])
    names, kinds = [f"w{k}" for k in range(16)], ["low"] * 8 + ["high"] * 8
    one, two = (plots.embeddings(vectors, names, kinds) for _ in range(2))
    for first, second in zip(one.lines, two.lines, strict=True):
        np.testing.assert_array_equal(first.get_xydata(), second.get_xydata())
    low, high = (np.array(line.get_xydata()) for line in one.lines)
    assert np.linalg.norm(low.mean(0) - high.mean(0)) > max(pdist(low).max(), pdist(high).max())
    assert [text.get_text() for text in one.texts] == names and legend(one) == ["low", "high"]


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match="groups has 2 names for 5 examples"):
        plots.trajectories(states(), groups=["a", "b"])
    with pytest.raises(UserError, match="symbols has 2 names for 4 vectors"):
        plots.embeddings(np.eye(4), ["a", "b"])
    with pytest.raises(UserError, match="2 points are too few"):
        plots.embeddings(np.eye(2), ["a", "b"])
