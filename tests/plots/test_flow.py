"""Gradient flow: an arrow leads to every state but the last, as wide and dark as the norm there is large."""

import numpy as np
import pytest
import torch
from drawn import T, legend, profile
from matplotlib.patches import FancyArrowPatch
from torch import nn

import rnnlab
from rnnlab import plots
from rnnlab.plots.flow import COLUMNS, THICK, THIN


def arrows(ax) -> dict[tuple[float, float], tuple[tuple[float, float], float, tuple]]:
    """Tail of every arrow, its width and its colour, by its head."""
    found = [patch for patch in ax.patches if isinstance(patch, FancyArrowPatch)]
    return {a._posA_posB[1]: (a._posA_posB[0], a.get_linewidth(), a.get_edgecolor()) for a in found}  # type: ignore


def losses(ax) -> list[tuple[float, float]]:
    """States that losses lead to."""
    return [note.xy for note in ax.texts if note.get_text() == "loss"]


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
    assert len(drawn) == 2 * (COLUMNS - 1) and losses(ax) == [(COLUMNS - 1, 1)]  # into the top layer's last state
    brightness = [sum(drawn[column, 1][2][:3]) for column in range(COLUMNS - 1)]
    assert brightness == sorted(brightness, reverse=True)  # darker towards the loss


def test_in_the_reverse_direction_the_gradient_flows_to_later_steps():
    data = profile().assign_coords(direction=["reverse"])
    drawn = arrows(plots.gradient_flow(data, direction="reverse"))
    assert all(tail[0] == head[0] - 1 for head, (tail, *_) in drawn.items())
    assert {head for head, _ in drawn} == set(range(1, COLUMNS))


def test_losses_are_drawn_where_they_enter():
    net = nn.ModuleDict({"encoder": rnnlab.GRU(2, 3, num_layers=2), "decoder": rnnlab.GRU(2, 3)})
    with rnnlab.record(net) as log:
        y, h = net["encoder"](torch.randn(4, 2, 2))
        answers, _ = net["decoder"](torch.randn(3, 2, 2), h[-1:], start=4)
        (y[1].sum() + answers[1:].sum()).backward()
    assert losses(plots.gradient_flow(log.dataset())) == [(1, 1), (5, 2), (6, 2)]
    with rnnlab.record(net["decoder"]) as log:
        net["decoder"](torch.randn(40, 2, 2))[0][[7, 39]].sum().backward()
    times = np.linspace(0, 39, COLUMNS).round().astype(int)
    columns = [int(np.searchsorted(times, t)) for t in (7, 39)]  # the next one shown
    assert losses(plots.gradient_flow(log.dataset())) == [(column, 0) for column in columns]


def test_what_was_not_measured_and_what_is_zero_have_dotted_lines_and_no_arrow():
    data = profile()
    data["log10_grad_norm"][..., :12] = np.nan
    data["zero_fraction"][..., :6] = np.nan
    data["zero_fraction"][..., 6:12] = 1.0
    ax = plots.gradient_flow(data)
    times = np.linspace(0, T - 1, COLUMNS).round().astype(int)
    assert sorted(column for column, _ in arrows(ax)) == [k for k, t in enumerate(times[:-1]) if t >= 12]
    assert legend(ax) == ["not measured", "exactly zero"]


def test_a_short_sequence_is_shown_whole():
    ax = plots.gradient_flow(profile().isel(time=slice(T - 4, None)))
    assert [text.get_text() for text in ax.get_xticklabels()] == ["26", "27", "28", "29"]
    assert "1 time step)" in ax.get_xlabel()
