"""Heat maps draw the numbers they are given, where they belong, and hide none of them."""

import numpy as np
import pytest
from drawn import S, color_bar, legend, pixels, profile, rows
from matplotlib.figure import Figure

from rnnlab import plots
from rnnlab.common.errors import UserError


def test_heatmap_shows_every_norm_with_training_steps_on_equal_rows():
    data = profile(states=("h", "c"), layers=3)
    ax = plots.heatmap(data, state="c", layer=1)
    expected = data["log10_grad_norm"].sel(state="c", direction="forward").isel(layer=1)
    np.testing.assert_array_equal(pixels(ax.images[0]), expected.values)
    assert rows(ax) == ["1,000", "100", "10", "1", "0"]
    assert list(ax.get_yticks()) == [0, 1, 2, 3, 4]
    assert ax.get_ylim() == (-0.5, S - 0.5) and ax.images[0].origin == "lower"  # the first recorded step is lowest
    assert "layer 1" in ax.get_title(loc="left") and "cell state" in ax.get_title(loc="left")
    assert not legend(ax)


def test_heatmap_labels_rows_by_recorded_step_where_the_training_step_is_unknown():
    assert rows(plots.heatmap(profile().drop_vars("train_step"))) == ["4", "3", "2", "1", "0"]


def test_heatmap_tells_what_was_not_measured_from_what_was_zero():
    data = profile()
    data["log10_grad_norm"][:, ..., :10] = np.nan
    data["zero_fraction"][:, ..., :6] = np.nan
    data["zero_fraction"][:, ..., 6:10] = 1.0
    ax = plots.heatmap(data)
    drawn, zero = (pixels(image) for image in ax.images)
    assert np.isnan(drawn[:, :10]).all() and np.isfinite(drawn[:, 10:]).all()
    assert np.isnan(zero[:, :6]).all() and (zero[:, 6:10] == 0).all() and np.isnan(zero[:, 10:]).all()
    assert ax.patch.get_hatch() and legend(ax) == ["not measured", "exactly zero"]


def test_a_heatmap_of_more_steps_than_pixels_drops_no_norm():
    """A dilated layer has a gradient at one step in 64: each is seen, and black is only what is zero all through."""
    data = profile().isel(time=np.zeros(1000, int))
    data["log10_grad_norm"][...] = np.nan
    data["log10_grad_norm"][..., ::64] = -2.0
    data["zero_fraction"][...] = 1.0
    data["zero_fraction"][..., ::64] = 0.0
    drawn, zero = (pixels(image) for image in plots.heatmap(data).images)
    seen = np.isfinite(drawn)
    assert drawn.shape[1] <= 400 and (seen.sum(axis=1) == len(range(0, 1000, 64))).all()
    assert (seen != (zero == 0)).all()
    assert plots.heatmap(data).images[0].get_extent()[:2] == [-0.5, 999.5]


def test_heatmap_states_its_limits_and_how_far_norms_lie_outside():
    low = plots.heatmap(profile(rate=-1.0))  # from 0 down to -33
    assert low.images[0].get_clim() == (-12, 0) and color_bar(low).extend == "min"
    assert color_bar(low).ax.get_ylabel().endswith("\ncolours from −12 to 0, lowest −33.0")
    whole = plots.heatmap(profile())
    assert whole.images[0].get_clim() == (-6, 0) and color_bar(whole).extend == "neither"
    assert color_bar(whole).ax.get_ylabel().endswith("\ncolours from −6 to 0")
    chosen = plots.heatmap(profile(rate=-1.0), vmin=-20, vmax=-1)
    assert chosen.images[0].get_clim() == (-20, -1) and color_bar(chosen).extend == "both"
    assert color_bar(chosen).ax.get_ylabel().endswith("\ncolours from −20 to −1, lowest −33.0, largest 0.0")


def test_heatmaps_of_several_arms_share_their_colours_and_say_so():
    arms = {"slow": profile(-0.05), "fast": profile(-1.0), "typical": profile(-0.2)}
    drawn = plots.heatmaps(arms)
    assert [ax.get_title(loc="left") for ax in drawn] == list(arms)
    assert {ax.images[0].get_clim() for ax in drawn} == {(-12, 0)}
    for ax, data in zip(drawn, arms.values(), strict=True):
        np.testing.assert_array_equal(pixels(ax.images[0]), data["log10_grad_norm"].values.reshape(S, -1))
    assert "−12 to 0" in drawn[0].figure.get_suptitle()
    assert ["colours" in color_bar(ax).ax.get_ylabel() for ax in drawn] == [False] * 3  # the title speaks for all
    assert [color_bar(ax).extend for ax in drawn] == ["neither", "min", "neither"]


def test_heatmaps_are_drawn_on_given_axes_each_of_which_states_the_shared_limits():
    arms = {"slow": profile(-0.05), "fast": profile(-0.2)}
    figure = Figure()
    figure.suptitle("of somebody else")
    given = figure.subplots(2, 2)
    drawn = plots.heatmaps(arms, ax=given[0])
    assert list(drawn) == list(given[0]) and [ax.get_title(loc="left") for ax in drawn] == list(arms)
    assert not given[1, 0].images and figure.get_suptitle() == "of somebody else"
    assert ["colours from −10 to 0" in color_bar(ax).ax.get_ylabel() for ax in drawn] == [True, True]
    with pytest.raises(UserError, match="ax has 4 axes for 2 profiles: give one for each"):
        plots.heatmaps(arms, ax=given)


def test_one_arm_that_explodes_does_not_leave_the_others_in_the_colour_of_the_floor():
    exploding = profile() + 300.0
    drawn = plots.heatmaps(
        {"a": profile(), "b": profile(), "bad": exploding.assign(zero_fraction=profile().zero_fraction)}
    )
    assert {ax.images[0].get_clim() for ax in drawn} == {(-6, 0)}


def test_no_arm_at_all_is_refused():
    with pytest.raises(UserError, match="profiles is empty"):
        plots.heatmaps({})
