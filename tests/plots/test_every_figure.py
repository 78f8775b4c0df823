"""What holds for every figure: it takes axes and returns them, names them and cuts nothing off."""

import subprocess
import sys
from collections.abc import Callable

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from drawn import LONG, profile, rows
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import rnnlab
from rnnlab import plots
from rnnlab.errors import UserError
from rnnlab.plots.style import figure_of, looks
from rnnlab.probes.states import hidden_states


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


RUNS = pd.DataFrame(
    {
        "task": "adding-30", "score_name": "mse", "arm": ["a", LONG] * 2, "phase": ["search"] * 2 + ["final"] * 2,
        "score": [0.1, 0.2] * 2, "diverged": [True, False] * 2, "decay_rate": -0.1, "decay_rate_init": -0.2,
        "param.optimizer.lr": 0.1,
    }
)  # fmt: skip
SOLVING = pd.DataFrame({"arm": ["a", LONG], "step": 5, "solved": [1.0, 0.0], "low": 0.0, "high": 1.0})
CONTESTS = pd.DataFrame({"arm": ["a"], "other": [LONG], "probability": 0.9, "p_all": 0.01})
LENGTHS = pd.DataFrame({"arm": ["a", LONG], "length": [10, 20], "solved": 0.5, "low": 0.2, "high": 0.8})
GRU = rnnlab.GRU(2, 6)
with rnnlab.trace(GRU) as tape:
    GRU(torch.randn(12, 4, 2))[0][-1].sum().backward()
PROBES = rnnlab.measure(tape.traces, ["gates", "saturation"])
STATES = hidden_states(tape.traces[0])
BIAS = xr.Dataset(
    {
        name: (("window", "parameter"), [[0.5], [0.2]])
        for name in ("gradient_bias", "gradient_ratio", "gradient_cosine")
    },
    {"window": [1, 5], "parameter": ["all"]},
)
TABLE = pd.DataFrame({"arm": ["a", LONG], "score": 0.1, "low": 0.0, "high": 0.2, "baseline": 0.5, "solved_at": 0.01})
EVERY: dict[Callable[..., Axes], tuple] = {
    plots.ablation_forest: (TABLE,),
    plots.bias_by_window: (BIAS,),
    plots.compare_lags: ({"a": profile(), LONG: profile()},),
    plots.decay_by_arm: (RUNS,),
    plots.embeddings: (np.eye(5), list("abcde")),
    plots.gate_map: (PROBES,),
    plots.gradient_flow: (profile(layers=2),),
    plots.health_scatter: (RUNS,),
    plots.heatmap: (profile(),),
    plots.lag_over_seeds: ([profile(), profile(-0.06)],),
    plots.lag_plot: (profile(),),
    plots.lr_sensitivity: (RUNS,),
    plots.ridges: (profile(),),
    plots.saturation_map: (PROBES,),
    plots.solve_curves: (SOLVING, 9),
    plots.spectrum: (GRU,),
    plots.success_by_length: (LENGTHS,),
    plots.trajectories: (STATES,),
    plots.win_matrix: (CONTESTS, ["a", LONG], 0.05),
}


def test_every_figure_is_here_or_opens_several_axes_itself():
    assert {draw.__name__ for draw in EVERY} | {"heatmaps", "save"} == set(plots.__all__)


@pytest.mark.parametrize(("draw", "data"), EVERY.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_given_axes_are_drawn_on_and_returned(draw, data):
    ax = Figure().add_subplot()
    assert draw(*data, ax=ax) is ax and (ax.lines or ax.images)


@pytest.mark.parametrize(("draw", "data"), EVERY.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_axes_are_named_and_no_text_is_cut_off(draw, data):
    ax = draw(*data)
    figure_of(ax).draw_without_rendering()
    drawn, (width, height) = figure_of(ax).get_tightbbox(), figure_of(ax).get_size_inches()
    assert ax.get_title(loc="left") and ax.get_xlabel() and (ax.get_ylabel() or rows(ax) == [LONG, "a"])
    assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "draw",
    [
        plots.heatmap,
        plots.lag_plot,
        plots.ridges,
        plots.gradient_flow,
        lambda data: plots.compare_lags({"a": data}),
        lambda data: plots.lag_over_seeds([data, data]),
        lambda data: plots.heatmaps({"a": data})[0],
    ],
)
def test_a_profile_without_any_finite_norm_is_drawn_empty(draw, tmp_path):
    data = profile()
    data["log10_grad_norm"][:] = np.nan
    data["log10_grad_norm"][0] = -np.inf
    plots.save(draw(data), tmp_path / "figure.png")


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
    for draw in (plots.heatmap, plots.lag_plot, plots.ridges):
        with pytest.raises(UserError, match=message):
            draw(profile(), **choice)
    with pytest.raises(UserError, match="no recorded step"):
        plots.heatmap(profile().isel(step=slice(0)))
