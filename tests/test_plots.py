"""Figures draw the numbers they are given, where they belong, and hide none of them."""

import subprocess
import sys
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.colorbar import Colorbar
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D

from rnnlab import plots
from rnnlab.errors import UserError
from rnnlab.plots.style import figure_of, looks
from rnnlab.probes.decay import fit_decay
from rnnlab.probes.profile import DIMS

S, T = 5, 30


def profile(rate: float = -0.05, states: tuple[str, ...] = ("h",), layers: int = 1) -> xr.Dataset:
    """Norms that decay at a given rate at every recorded step, one decade lower a recorded step."""
    lag = np.arange(T)[::-1]
    norms = np.empty((S, layers, 1, len(states), T))
    for index in np.ndindex(norms.shape[:-1]):
        norms[index] = rate * lag - index[0] - 10.0 * index[1] - 100.0 * index[3]
    values = {"log10_grad_norm": norms, "log10_grad_norm_min": norms - 0.5, "log10_grad_norm_max": norms + 0.25}
    values["zero_fraction"] = np.zeros_like(norms)
    return xr.Dataset(
        {name: (DIMS, array) for name, array in values.items()},
        coords={
            "step": np.arange(S), "layer": np.arange(layers), "direction": ["forward"], "state": list(states),
            "time": np.arange(T), "lag": ("time", lag), "train_step": ("step", [0, 1, 10, 100, 1000]),
        },
    )  # fmt: skip


def legend(ax: Axes) -> list[str]:
    shown = ax.get_legend()
    return [text.get_text() for text in shown.get_texts()] if shown else []


def rows(ax: Axes) -> list[str]:
    """Labels of the rows, top to bottom."""
    return [text.get_text() for text in ax.get_yticklabels()][::-1]


def xs(line: Line2D) -> list[float]:
    return np.asarray(line.get_xdata(), float).tolist()


def ys(line: Line2D) -> list[float]:
    return np.asarray(line.get_ydata(), float).tolist()


def color_bar(ax: Axes) -> Colorbar:
    bar = ax.images[0].colorbar
    assert bar is not None
    return bar


def pixels(image: AxesImage) -> np.ndarray:
    return np.ma.filled(np.ma.masked_invalid(np.ma.asarray(image.get_array())), np.nan)


def test_a_figure_of_its_own_is_unknown_to_pyplot_and_saved_whole(tmp_path):
    before = plt.get_fignums()
    ax = plots.heatmap(profile())
    plots.save(ax, tmp_path / "figure.png")
    assert plt.get_fignums() == before
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")


def test_drawing_leaves_the_global_style_alone():
    program = (
        "import matplotlib; before = dict(matplotlib.rcParams); import rnnlab.plots; "
        "assert dict(matplotlib.rcParams) == before"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


LONG = "chrono LSTM with a rather long name"
RUNS = pd.DataFrame(
    {
        "task": "adding-30", "score_name": "mse", "arm": ["a", LONG] * 2, "phase": ["search"] * 2 + ["final"] * 2,
        "score": [0.1, 0.2] * 2, "diverged": [True, False] * 2, "decay_rate": -0.1, "decay_rate_init": -0.2,
        "param.optimizer.lr": 0.1,
    }
)  # fmt: skip
TABLE = pd.DataFrame({"arm": ["a", LONG], "score": 0.1, "low": 0.0, "high": 0.2, "baseline": 0.5, "solved_at": 0.01})
EVERY: list[tuple[Callable[..., Axes], object]] = [
    (plots.heatmap, profile()),
    (plots.lag_plot, profile()),
    (plots.compare_lags, {"a": profile(), LONG: profile()}),
    (plots.ablation_forest, TABLE),
    (plots.lr_sensitivity, RUNS),
    (plots.decay_by_arm, RUNS),
]


@pytest.mark.parametrize(("draw", "data"), EVERY)
def test_given_axes_are_drawn_on_and_returned(draw, data):
    ax = Figure().add_subplot()
    assert draw(data, ax=ax) is ax and (ax.lines or ax.images)


@pytest.mark.parametrize(("draw", "data"), EVERY)
def test_axes_are_named_and_no_text_is_cut_off(draw, data):
    ax = draw(data)
    figure_of(ax).draw_without_rendering()
    drawn, (width, height) = figure_of(ax).get_tightbbox(), figure_of(ax).get_size_inches()
    assert ax.get_xlabel() and (ax.get_ylabel() or rows(ax) == [LONG, "a"])
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


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


def test_heatmap_states_the_floor_only_where_norms_lie_below_it():
    low = plots.heatmap(profile(rate=-1.0))  # from 0 down to -33
    assert low.images[0].get_clim() == (-12, 0) and color_bar(low).extend == "min"
    assert color_bar(low).ax.get_ylabel().endswith("floor −12, lowest −33")
    whole = plots.heatmap(profile())
    assert whole.images[0].get_clim() == (-6, 0) and color_bar(whole).extend == "neither"
    assert "floor" not in color_bar(whole).ax.get_ylabel()
    chosen = plots.heatmap(profile(rate=-1.0), vmin=-20, vmax=-1)
    assert chosen.images[0].get_clim() == (-20, -1) and color_bar(chosen).extend == "both"


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("draw", [plots.heatmap, plots.lag_plot, lambda data: plots.compare_lags({"a": data})])
def test_a_profile_without_any_finite_norm_is_drawn_empty(draw, tmp_path):
    data = profile()
    data["log10_grad_norm"][:] = np.nan
    data["log10_grad_norm"][0] = -np.inf
    plots.save(draw(data), tmp_path / "figure.png")


def test_lag_plot_draws_first_middle_and_last_step_with_bands_and_fit():
    data = profile()
    ax = plots.lag_plot(data)
    solid, fits = ax.lines[::2], ax.lines[1::2]
    for line, fit, step in zip(solid, fits, (0, 2, 4), strict=True):
        one = data.isel(step=step, layer=0, direction=0, state=0)
        np.testing.assert_array_equal(xs(line), one["lag"])
        np.testing.assert_array_equal(ys(line), one["log10_grad_norm"])
        np.testing.assert_allclose(ys(fit), [-step, -step - 0.05 * (T - 1)], atol=1e-12)
    bands = [band for band in ax.collections if isinstance(band, FillBetweenPolyCollection)]
    edges = [np.concatenate([path.vertices for path in band.get_paths()]) for band in bands]
    assert [(edge[:, 1].min(), edge[:, 1].max()) for edge in edges] == [
        pytest.approx((-step - 0.05 * (T - 1) - 0.5, -step + 0.25)) for step in (0, 2, 4)
    ]


def test_lag_plot_gives_slope_and_half_life_of_the_fit():
    data = profile()
    data["log10_grad_norm"] += np.random.default_rng(0).normal(0, 0.1, data["log10_grad_norm"].shape)
    norms = data["log10_grad_norm"].isel(step=4, layer=0, direction=0, state=0).values
    decay = fit_decay(norms, data["lag"].values)
    text = legend(plots.lag_plot(data))[2].replace("−", "-")
    assert text.startswith("step 1,000: ")
    slope, stderr = text.removeprefix("step 1,000: ").split(" decades")[0].split(" ± ")
    assert float(slope) == pytest.approx(decay.slope, abs=decay.stderr)
    assert float(stderr) == pytest.approx(decay.stderr, rel=0.5)
    assert f"halves every {decay.half_life:.3g} steps" in text


@pytest.mark.parametrize(
    ("rate", "words"), [(0.1, "doubles every 3.01 steps"), (-1e-4, "halves every 3,010 steps"), (0.0, "does not decay")]
)
def test_growth_slow_decay_and_none_are_put_into_words(rate, words):
    assert legend(plots.compare_lags({"a": profile(rate)}))[0].endswith(words)


def test_compare_lags_draws_every_arm_and_lists_the_slowest_decay_first():
    arms = {"tanh": profile(-0.3), "lstm": profile(-0.01), "relu": profile(0.02)}
    ax = plots.compare_lags(arms, step=1)
    for line, data in zip(ax.lines, arms.values(), strict=True):
        np.testing.assert_array_equal(ys(line), data["log10_grad_norm"].isel(step=1).values.ravel())
    assert [label.split(":")[0] for label in legend(ax)] == ["relu", "lstm", "tanh"]


def test_up_to_ten_arms_differ_in_colour_and_in_marker_and_dashes():
    drawn = looks("abcdefghij").values()
    assert len({look.color for look in drawn}) == 10
    assert len({look.marker for look in drawn}) == 10


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"state": "c"}, "state = 'c' was not recorded: choose from h"),
        ({"direction": "reverse"}, "choose from forward"),
        ({"layer": 1}, "layer = 1 was not recorded: choose from 0 to 0"),
    ],
)
def test_what_was_not_recorded_is_refused(choice, message):
    for draw in (plots.heatmap, plots.lag_plot):
        with pytest.raises(UserError, match=message):
            draw(profile(), **choice)
    with pytest.raises(UserError, match="no recorded step"):
        plots.heatmap(profile().isel(step=slice(0)))
