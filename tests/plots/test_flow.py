"""Gradient flow: an arrow leads to every state but the last, as wide and dark as the norm there is large."""

import numpy as np
import pytest
from drawn import T, legend, profile
from matplotlib.patches import FancyArrowPatch

from rnnlab import plots
from rnnlab.plots.flow import COLUMNS, THICK, THIN


def arrows(ax) -> dict[tuple[float, float], tuple[tuple[float, float], float, tuple]]:
    """Tail of every arrow, its width and its colour, by its head."""
    found = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    return {a._posA_posB[1]: (a._posA_posB[0], a.get_linewidth(), a.get_edgecolor()) for a in found}  # type: ignore


def test_width_and_colour_of_an_arrow_are_the_norm_of_the_state_it_points_to():
    data = profile(rate=-0.3, layers=2)
    ax = plots.gradient_flow(data, step=0)
    drawn, bar = arrows(ax), ax.figure.axes[1]
    low, high = bar.get_ylim()
    times = np.linspace(0, T - 1, COLUMNS).round().astype(int)
    norms = data["log10_grad_norm"].values[0, :, 0, 0][:, times]
    assert (low, high) == (max(np.floor(norms.min()), -12), 0)
    for layer in range(2):
        for column in range(COLUMNS - 1):
            tail, width, _ = drawn[column, layer]
            share = np.clip((norms[layer, column] - low) / (high - low), 0, 1)
            assert tail == (column + 1, layer) and width == pytest.approx(THIN + (THICK - THIN) * share)
    assert drawn[COLUMNS - 1, 1][0] == (COLUMNS, 1)  # from the loss into the last state of the top layer
    assert len(drawn) == 2 * (COLUMNS - 1) + 1
    brightness = [sum(drawn[column, 1][2][:3]) for column in range(COLUMNS - 1)]
    assert brightness == sorted(brightness, reverse=True)  # darker towards the loss


def test_in_the_reverse_direction_the_gradient_flows_to_later_steps():
    data = profile().assign_coords(direction=["reverse"])
    drawn = arrows(plots.gradient_flow(data, direction="reverse"))
    assert all(tail[0] == head[0] - 1 for head, (tail, *_) in drawn.items()) and (0, 0) in drawn


def test_what_was_not_measured_and_what_is_zero_have_dotted_lines_and_no_arrow():
    data = profile()
    data["log10_grad_norm"][..., :12] = np.nan
    data["zero_fraction"][..., :6] = np.nan
    data["zero_fraction"][..., 6:12] = 1.0
    ax = plots.gradient_flow(data)
    times = np.linspace(0, T - 1, COLUMNS).round().astype(int)
    assert sorted(column for column, _ in arrows(ax)) == [k for k, t in enumerate(times) if t >= 12]
    assert legend(ax) == ["not measured", "exactly zero"]


def test_a_short_sequence_is_shown_whole():
    ax = plots.gradient_flow(profile().isel(time=slice(T - 4, None)))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["26", "27", "28", "29"]
    assert "1 time step)" in ax.get_xlabel()
