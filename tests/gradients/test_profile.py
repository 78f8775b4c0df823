"""The top of a network: at every place the highest layer that was measured there."""

import numpy as np
import torch
import xarray as xr

import rnnlab
from rnnlab.config.config import Config
from rnnlab.training.runs import run


def test_the_top_of_a_plain_stack_is_its_last_layer_even_where_no_gradient_arrives():
    net = rnnlab.LSTM(2, 3, num_layers=2, bidirectional=True)
    with rnnlab.record(net) as log:
        (net(torch.randn(9, 4, 2))[0][4] * torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0])).sum().backward()
    profile = log.dataset()
    assert (profile["zero_fraction"] == 1).any()
    xr.testing.assert_identical(rnnlab.top(profile), profile.isel(layer=-1, drop=True))


def test_probes_of_an_encoder_and_a_decoder_have_one_top():
    config = Config.parse(
        {
            "task": {"kind": "reversal", "length": 5},
            "cell": {"kind": "gru", "hidden_size": 4},
            "training": {"steps": 1, "eval_every": 1, "eval_examples": 4, "test_examples": 4, "batch_size": 4},
            "recording": {"probes": "full", "probe_points": 1},
        }
    )
    probes = run(config).probes
    assert probes is not None
    gates = probes["gate_mean"]
    expected = np.concatenate([gates.isel(layer=0, time=slice(5)), gates.isel(layer=1, time=slice(5, None))], axis=-1)
    np.testing.assert_array_equal(rnnlab.top(probes)["gate_mean"], expected)
    assert set(rnnlab.top(probes).data_vars) == set(probes.data_vars)
