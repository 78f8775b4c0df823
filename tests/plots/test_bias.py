"""Bias against window: the numbers of `gradient_bias`, down to none where the window is whole."""

import numpy as np
import pytest
import torch
from drawn import lines, xs, ys

from rnnlab import plots
from rnnlab.config.config import Config
from rnnlab.plots.bias import LABELS
from rnnlab.remedies.truncation import Truncation
from rnnlab.training.bias import bias_by_window, gradient_bias
from rnnlab.training.models import build_model


def test_every_window_has_its_point_and_the_whole_one_no_bias():
    config = Config.parse({"task": {"kind": "adding", "length": 12}, "cell": {"kind": "gru", "hidden_size": 4}})
    model, batch = build_model(config), config.task.sample(torch.Generator().manual_seed(0), 8)
    bias = bias_by_window(model, config.task, batch, [1, 4, 12])
    ax = plots.bias_by_window(bias)
    for name, label in LABELS.items():
        line = lines(ax)[label]
        each = [gradient_bias(model, config.task, batch, [Truncation(window=w)])[name] for w in (1, 4, 12)]
        np.testing.assert_allclose(ys(line), [float(values.sel(parameter="all")) for values in each], rtol=1e-6)
        assert xs(line) == [1, 4, 12]
    ends = [ys(lines(ax)[label])[-1] for label in LABELS.values()]
    assert ends == pytest.approx([0, 1, 1], abs=1e-5) and ax.get_xscale() == "log"
