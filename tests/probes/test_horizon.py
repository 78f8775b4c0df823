"""Horizons of profiles whose decay is known."""

import math

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.horizon import effective_horizon, horizon, mean_lag
from rnnlab.probes.tape import trace

LAG = np.arange(50)[::-1]


@pytest.mark.parametrize("slope", [-0.03, -0.3, -1.5, -4.0])
@pytest.mark.parametrize("threshold", [1e-2, 1e-6])
def test_exponential_decay_reaches_as_far_as_its_slope_allows(slope, threshold):
    log10_norm = slope * LAG - 7
    expected = min(49, math.floor(math.log10(threshold) / slope))
    assert effective_horizon(log10_norm, LAG, threshold) == expected
    r = 10**slope
    series = sum(k * r**k for k in range(50)) / sum(r**k for k in range(50))
    assert mean_lag(log10_norm, LAG) == pytest.approx(series, rel=1e-12)


def test_a_flat_profile_reaches_the_first_step_and_weighs_all_alike():
    assert effective_horizon(np.full(50, -300.0), LAG) == 49
    assert mean_lag(np.full(50, -3000.0), LAG) == pytest.approx(24.5, rel=1e-12)


def test_a_return_of_the_gradient_counts_and_zeros_and_gaps_do_not():
    log10_norm = np.array([-1.0, -5.0, -np.inf, np.nan, 0.0])  # lags 4 to 0
    assert effective_horizon(log10_norm, np.arange(5)[::-1]) == 4
    log10_norm[0] = np.nan
    assert effective_horizon(log10_norm, np.arange(5)[::-1]) == 0
    assert effective_horizon(log10_norm, np.arange(5)[::-1], 1e-6) == 3


def test_distances_count_from_the_loss():
    """Nothing behind the loss, two lags before the end; half as much one step earlier."""
    log10_norm = np.array([-9.0, math.log10(0.5), 0.0, -np.inf, -np.inf])
    assert effective_horizon(log10_norm, np.arange(5)[::-1]) == 1
    assert mean_lag(log10_norm, np.arange(5)[::-1]) == pytest.approx(1 / 3, abs=1e-8)


def test_nothing_measured_has_no_horizon():
    assert math.isnan(effective_horizon(np.full(3, np.nan), np.arange(3)))
    assert math.isnan(mean_lag(np.full(3, -np.inf), np.arange(3)))


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("lengths", [(40, 40), (40, 30)])
def test_scaled_orthogonal_recurrence(bidirectional, lengths):
    """Every step multiplies the norm by ρ; lags run from the last step of each sequence in the scan's direction."""
    rho, H = 0.8, 6
    net = Recurrent("vanilla", 2, H, activation="identity", bidirectional=bidirectional, dtype=torch.float64)
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if "weight_hh" in name:
                weight.copy_(rho * torch.linalg.qr(torch.randn(H, H, dtype=torch.float64))[0])
    with trace(net) as tape:
        net(pack_sequence([torch.randn(n, 2, dtype=torch.float64) for n in lengths]))[1].sum().backward()
    for found in map(horizon, tape.traces):
        value = {name: array.sel(state="h") for name, array in found.items()}
        assert float(value["decay_rate"]) == pytest.approx(math.log10(rho), rel=1e-10)
        assert float(value["half_life"]) == pytest.approx(math.log(0.5) / math.log(rho), rel=1e-10)
        assert float(value["horizon"].sel(threshold=1e-2)) == math.floor(math.log(1e-2) / math.log(rho))
        assert float(value["horizon"].sel(threshold=1e-6)) == 39  # as long as the sequence: ρ needs 61 steps
        weights = rho ** np.arange(40.0)
        assert float(value["mean_lag"]) == pytest.approx(np.average(np.arange(40), weights=weights), rel=1e-10)


def test_a_vanished_gradient_ends_the_horizon():
    net = Recurrent("vanilla", 1, 1, bias=False, activation="identity")
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").zero_()
    with trace(net) as tape:
        net(torch.ones(5, 1, 1))[0][-1].sum().backward()
    found = horizon(tape.traces[0])
    assert (found["horizon"] == 0).all() and float(found["mean_lag"][0]) == 0
