"""The spectrum drawn is that of the weights."""

import numpy as np
import pytest
import torch
from drawn import legend, lines, xs, ys
from matplotlib.patches import Annulus, Circle

import rnnlab
from rnnlab import plots
from rnnlab.common.errors import UserError
from rnnlab.plots.style import figure_of


def test_eigenvalues_and_singular_values_of_the_recurrent_matrix():
    net = rnnlab.RNN(2, 7)
    W = net.get_parameter("weight_hh_l0").detach().double().numpy()
    ax = plots.spectrum(net)
    points = next(line for label, line in lines(ax).items() if label.startswith("$W_{hh}$"))
    drawn = np.sort_complex(np.array(xs(points)) + 1j * np.array(ys(points)))
    np.testing.assert_allclose(drawn, np.sort_complex(np.linalg.eigvals(W)))
    gains = np.linalg.svd(W, compute_uv=False)
    ticks = [line for line in ax.lines if line.get_marker() == "|" and len(xs(line))]
    np.testing.assert_allclose(xs(ticks[0]), gains)
    assert set(ys(ticks[0])) == {0}
    (circle,) = (patch for patch in ax.patches if isinstance(patch, Circle))
    assert circle.get_radius() == 1 and ax.get_aspect() == 1
    (ring,) = (patch for patch in ax.patches if isinstance(patch, Annulus))
    assert ring.get_radii()[0] == pytest.approx(gains[0]) and ring.get_width() == pytest.approx(gains[0] - gains[-1])
    radius = abs(np.linalg.eigvals(W)).max()
    assert any(f"largest |eigenvalue| {radius:.2f}, largest singular value {gains[0]:.2f}" in t for t in legend(ax))


def test_nothing_is_cut_off_whether_there_is_one_matrix_or_four():
    for net in (rnnlab.RNN(2, 7), rnnlab.LSTM(2, 7)):
        ax = plots.spectrum(net)
        figure_of(ax).draw_without_rendering()
        drawn, (width, height) = figure_of(ax).get_tightbbox(), figure_of(ax).get_size_inches()
        assert drawn.x0 >= 0 and drawn.y0 >= 0 and drawn.x1 <= width and drawn.y1 <= height


def test_every_gate_has_eigenvalues_of_its_own_in_the_chosen_layer_and_direction():
    net = rnnlab.LSTM(2, 4, num_layers=2, bidirectional=True)
    ax = plots.spectrum(net, layer=0, direction="reverse")
    blocks = dict(
        zip(
            ("input", "forget", "cell", "output"),
            net.get_parameter("weight_hh_l0_reverse").detach().split(4),
            strict=True,
        )
    )
    for name, block in blocks.items():
        line = next(line for label, line in lines(ax).items() if label.startswith(f"{name}:"))
        drawn = np.sort_complex(np.array(xs(line)) + 1j * np.array(ys(line)))
        np.testing.assert_allclose(drawn, np.sort_complex(np.linalg.eigvals(block.double().numpy())))


def test_layers_are_counted_through_the_whole_model():
    model = torch.nn.ModuleList([rnnlab.RNN(2, 3), rnnlab.GRU(3, 4)])
    assert any(text.startswith("$W_{hh}$") for text in legend(plots.spectrum(model, layer=0)))
    assert any(text.startswith("update:") for text in legend(plots.spectrum(model, layer=1)))


def test_what_does_not_exist_is_refused():
    with pytest.raises(UserError, match="layer = 1 does not exist: choose from 0 to 0"):
        plots.spectrum(rnnlab.RNN(2, 3), layer=1)
    with pytest.raises(UserError, match="direction = 'reverse' does not exist: choose from forward"):
        plots.spectrum(rnnlab.RNN(2, 3), direction="reverse")
    with pytest.raises(UserError, match="cell 'mingru' has no square recurrent matrix"):
        plots.spectrum(rnnlab.Recurrent("mingru", 2, 3))
