"""Figures of a report compare arms at one training step, and show a run that did not diverge if there is one."""

import math

import numpy as np
import pandas as pd
import pytest
from rows import ADDING, run

from rnnlab.common.errors import UserError
from rnnlab.report.figures import Figure, compare_at, first_profiles, shared_steps, task_figures
from rnnlab.statistics.ablation import ablation_table, comparison_table
from rnnlab.tracking.reader import load_sweep


@pytest.fixture(scope="module")
def sweep(small_sweep):
    runs = load_sweep("small", small_sweep).query("task == 'adding-8'")
    return ablation_table(runs), runs, small_sweep


def test_one_run_an_arm_is_shown_the_first_that_did_not_diverge(sweep):
    rows, runs, uri = sweep
    tanh = runs.query("arm == 'tanh' and phase == 'final'")
    worst_first = runs.assign(seed=runs["seed"].where(~runs["diverged"], -1))
    for given in (runs, worst_first):
        profiles = first_profiles(rows, given, uri)
        assert list(profiles) == rows["arm"].tolist()
        first = tanh.loc[tanh["seed"] == 1000].iloc[0]
        lag, norm = (profiles["tanh"][name] for name in ("lag", "log10_grad_norm_by_lag"))
        slope = np.polyfit(lag, norm.isel(step=0, layer=-1).sel(direction="forward", state="h"), 1)[0]
        assert slope == pytest.approx(first["decay_rate_init"], rel=1e-4)  # profiles are kept in float32


def test_arms_are_compared_at_one_training_step(sweep):
    rows, runs, uri = sweep
    profiles = first_profiles(rows, runs, uri)
    shortened = profiles | {"lstm": profiles["lstm"].isel(step=slice(0, 2))}
    steps = profiles["tanh"]["train_step"].values.tolist()
    assert shared_steps(shortened) == steps[:2]
    ax = compare_at(shortened, steps[1])
    assert ax.get_title(loc="left").endswith(f"training step {steps[1]}")
    expected = (
        profiles["tanh"]["log10_grad_norm_by_lag"].isel(step=1, layer=-1).sel(direction="forward", state="h").values
    )
    assert any(np.array_equal(line.get_ydata(), expected) for line in ax.get_lines())


def test_without_profiles_there_is_no_step_to_share():
    with pytest.raises(UserError, match=r"recording\.points above 0"):
        shared_steps({})


def drawn(*rows: dict) -> dict[str, Figure]:
    """Figures of runs that recorded no profiles, by the first part of their names."""
    runs = pd.DataFrame(list(rows)).assign(decay_rate_early=math.nan, **{"param.recording.points": 0})
    figures = task_figures(ablation_table(runs), runs, comparison_table(runs, None), ADDING, "nowhere")
    return {figure.name.removesuffix(f"-{ADDING.label}"): figure for figure in figures}


def test_a_figure_is_left_out_where_there_is_nothing_to_draw():
    two = [run(arm=arm, seed=seed) for arm in "ab" for seed in (1, 2)]
    assert list(drawn(*two)) == ["forest"]
    assert list(drawn(*two, run(arm="c"))) == ["forest", "wins"]
    assert list(drawn(*two, run(arm="b", phase="search"))) == ["forest", "learning-rate"]
    assert list(drawn(*two, run(arm="a", seed=3, outcome="solved", steps_to_solve=5.0))) == ["forest", "solve"]


def test_the_curves_of_solving_start_at_0_and_end_with_the_budget():
    rows = [run(arm=arm, seed=k, outcome="solved", steps_to_solve=100.0 * k) for arm in "ab" for k in (1, 2, 3)]
    ax = drawn(*rows, run(arm="b", seed=4, outcome="diverged", steps=7.0))["solve"].axes
    ends = {line.get_label(): np.asarray(line.get_xydata(), float)[[0, -1]].tolist() for line in ax.get_lines()}
    assert ends == {"a": [[0, 0], [500, 1]], "b": [[0, 0], [500, 0.75]]}
