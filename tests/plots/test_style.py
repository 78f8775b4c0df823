"""Labels can be read: none lies over another, and none is missing for how it begins."""

import numpy as np
import pandas as pd
import pytest
from drawn import legend
from matplotlib.axes import Axes
from rows import run

from rnnlab import plots
from rnnlab.plots.style import axes, figure_of, log_axis, log_ticks


def overlaps(ax: Axes) -> list[str]:
    """Labels of x that begin before the one before them ends."""
    figure_of(ax).draw_without_rendering()
    renderer = figure_of(ax)._get_renderer()  # type: ignore[attr-defined]
    texts = [text for text in ax.get_xticklabels(which="both") if text.get_text() and text.get_visible()]
    low, high = ax.get_xlim()
    seen = sorted((t for t in texts if low <= t.get_position()[0] <= high), key=lambda t: t.get_position()[0])
    boxes = [text.get_window_extent(renderer) for text in seen]
    assert len(boxes) >= 2
    return [t.get_text() for t, a, b in zip(seen[1:], boxes[:-1], boxes[1:], strict=True) if b.x0 < a.x1]


@pytest.mark.parametrize("ends", [(2e-4, 3e-3), (1e-3, 1e-2), (1e-5, 1e-1), (3e-3, 7e-3), (1e-9, 1e3)])
def test_labels_of_a_logarithmic_axis_lie_beside_each_other(ends):
    ax = axes(4.5, 3)
    ax.plot(np.geomspace(ends[0], ends[1], 5), range(5))
    log_axis(ax, "x")
    assert overlaps(ax) == []


@pytest.mark.parametrize("values", [[1, 2, 3, 5, 10, 20, 50], [50, 55, 60, 70, 1000], [784, 1000, 10_000]])
def test_ticks_at_given_values_are_named_where_there_is_room(values):
    ax = axes(5, 3)
    ax.plot(values, values)
    log_ticks(ax, np.array(values))
    assert overlaps(ax) == [] and ax.get_xticks().tolist() == values


def test_arms_that_begin_with_a_line_are_in_the_legend():
    runs = [run(arm=arm, phase=phase, seed=k) for arm in ("_a", "b") for phase in ("search", "final") for k in (1, 2)]
    frame = pd.DataFrame(runs).assign(decay_rate_early=-0.1)
    for draw in (plots.lr_sensitivity, plots.success_by_length, plots.health_scatter, plots.solve_curves):
        assert "_a" in " ".join(legend(draw(frame))), draw.__name__
