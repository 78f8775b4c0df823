"""Ridges stand on their row, all on one scale, and leave a gap where nothing was measured."""

import numpy as np
import pytest
from drawn import S, T, profile, rows, xs, ys

from rnnlab import plots
from rnnlab.plots.ridge import OVERLAP, RIDGES


def heights(ax):
    """Height of every ridge above its row, the first recorded step first."""
    drawn = [line for line in ax.lines if len(xs(line)) == T][::-1]
    return np.array([ys(line) for line in drawn]) - np.arange(len(drawn))[:, None]


def test_ridges_are_the_norms_on_one_scale():
    data = profile()
    norms = data["log10_grad_norm_by_lag"].values.reshape(S, T)
    ax = plots.ridges(data)
    low, high = norms.min(), norms.max()
    np.testing.assert_allclose(heights(ax) / OVERLAP * (high - low) + low, norms, atol=1e-12)
    assert rows(ax) == ["1,000", "100", "10", "1", "0"]
    scale = [float(text.get_text().replace("−", "-")) for text in ax.texts[:2]]
    assert scale == pytest.approx([low, high], abs=0.051)


def test_the_floor_lies_at_most_twelve_decades_down():
    ax = plots.ridges(profile(rate=-1.0))  # from 0 to -33
    assert [text.get_text() for text in ax.texts[:2]] == ["−12.0", "0.0"]
    assert heights(ax).min() == 0


def test_what_was_not_measured_is_a_gap():
    data = profile()
    data["log10_grad_norm_by_lag"][..., :10] = np.nan
    drawn = heights(plots.ridges(data))
    assert np.isnan(drawn[:, :10]).all() and np.isfinite(drawn[:, 10:]).all()


def test_of_many_recorded_steps_the_first_and_the_last_are_among_those_shown():
    many = profile().isel(step=np.arange(S).repeat(10))
    many = many.assign_coords(step=np.arange(50), train_step=("step", np.arange(50)))
    shown = rows(plots.ridges(many))
    assert len(shown) == RIDGES and (shown[0], shown[-1]) == ("49", "0")


@pytest.mark.parametrize("layer", [0, 1])
def test_the_chosen_layer_is_drawn(layer):
    data = profile(layers=2)
    np.testing.assert_allclose(heights(plots.ridges(data, layer=layer))[0][0], OVERLAP)  # norms of a layer differ
    assert f"layer {layer}" in plots.ridges(data, layer=layer).get_title(loc="left")
