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
from rows import run

import rnnlab
from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.plots.style import figure_of, looks
from rnnlab.probes.states import hidden_states


def test_a_figure_of_its_own_is_unknown_to_pyplot_and_saved_whole(tmp_path, coarse):
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


ARMS = {
    "a": {"score": 0.2, "decay_rate": -0.2},
    LONG: {"score": 0.001, "decay_rate": -0.1, "outcome": "solved", "steps_to_solve": 5.0},
}
ENDS = "finished", "pruned"
RUNS = pd.DataFrame(
    [run(arm=arm, seed=seed, **fields) for arm, fields in ARMS.items() for seed in (1, 2)]
    + [run(arm=arm, phase="search", trial=k, outcome=end) for arm in ARMS for k, end in enumerate(ENDS)]
)
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
EVERY: dict[Callable[..., Axes], tuple] = {
    plots.ablation_forest: (RUNS,),
    plots.arms_matrix: (RUNS,),
    plots.bias_by_window: (BIAS,),
    plots.compare_lags: ({"a": profile(), LONG: profile()},),
    plots.decay_by_arm: (RUNS,),
    plots.difference_forest: (RUNS, RUNS.assign(score=RUNS["score"].where(RUNS["arm"] == LONG, 1.0))),
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
    plots.solve_curves: (RUNS,),
    plots.spectrum: (GRU,),
    plots.success_by_length: (RUNS,),
    plots.trajectories: (STATES,),
    plots.win_matrix: (RUNS,),
}


def test_every_figure_is_here_or_takes_several_axes():
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
def test_a_profile_without_any_finite_norm_is_drawn_empty(draw, tmp_path, coarse):
    data = profile()
    for name in ("log10_grad_norm", "log10_grad_norm_by_lag"):
        data[name][:] = np.nan
        data[name][0] = -np.inf
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


def test_a_figure_may_bear_the_name_of_its_module(tmp_path, monkeypatch):
    """Asked twice: the first look imports the module, which then lies in the package under the same name."""
    (tmp_path / "spread.py").write_text("def spread(): ...")
    monkeypatch.setattr(plots, "__path__", [*plots.__path__, str(tmp_path)])
    monkeypatch.setitem(plots._HOME, "spread", "rnnlab.plots.spread")
    try:
        assert callable(plots.__getattr__("spread")) and callable(vars(plots)["spread"])
    finally:
        plots.__dict__.pop("spread", None)
        sys.modules.pop("rnnlab.plots.spread", None)
