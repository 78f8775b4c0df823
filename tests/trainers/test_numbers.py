"""Numbers of a profile are those of a run's curves and tables, and of the norms themselves."""

import math

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.trainers.numbers import profile_numbers


def recorded(net, x, loss):
    with rnnlab.record(net, per_example=True) as log:
        loss(net(x)[0]).backward()
    return log.dataset()


def test_they_are_those_of_a_run():
    config = rnnlab.Config.parse(
        {
            "task": {"kind": "adding", "length": 20},
            "cell": {"kind": "vanilla", "hidden_size": 4},
            "training": {"steps": 4, "batch_size": 3, "eval_every": 4, "eval_examples": 4, "test_examples": 4},
            "recording": {"points": 2, "probes": ["horizon"], "probe_points": 2},
        }
    )
    result = rnnlab.run(config)
    assert result.profile is not None and result.probes is not None
    numbers, summary = profile_numbers(result.profile), result.summary()
    for name in ("decay_rate", "half_life"):
        assert numbers[f"grad/{name}"] == summary[name]
    for name in ("grad/decay_rate", "grad/zero_fraction"):
        assert numbers[name] == result.history[name].values[-1]


def test_norms_are_those_of_the_examples():
    profile = recorded(rnnlab.GRU(2, 5), torch.randn(30, 1, 2), lambda y: y[-1].sum())
    norms = 10 ** profile["log10_grad_norm_per_example"].values.ravel()
    numbers = profile_numbers(profile)
    assert numbers["grad/log10_norm_min"] == pytest.approx(math.log10(norms.min()))
    assert numbers["grad/log10_norm_max"] == pytest.approx(math.log10(norms.max()))
    assert numbers["grad/log10_norm_total"] == pytest.approx(math.log10(np.linalg.norm(norms)))
    lagged = profile["log10_grad_norm_by_lag"].values.ravel()
    assert numbers["grad/horizon"] == np.flatnonzero(lagged >= lagged[0] - 2).max()


def test_norms_that_no_float_holds_have_numbers_too():
    net = rnnlab.RNN(1, 2)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").mul_(1e-3)
    numbers = profile_numbers(recorded(net, torch.randn(150, 1, 1), lambda y: y[-1].sum()))
    assert numbers["grad/log10_norm_min"] < -400
    assert numbers["grad/log10_norm_total"] == pytest.approx(numbers["grad/log10_norm_max"], abs=1e-3)


def test_what_does_not_exist_is_left_out_and_zeros_are_counted():
    profile = recorded(rnnlab.GRU(2, 5), torch.randn(4, 3, 2), lambda y: 0 * y.sum())
    shares = {"grad/zero_fraction": 1.0, "grad/nan_fraction": 0.0, "grad/underflowed_fraction": 0.0}
    assert profile_numbers(profile) == shares
