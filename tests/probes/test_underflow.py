"""Where a geometric series leaves the range of floating point."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.tape import trace
from rnnlab.probes.trace import Trace
from rnnlab.probes.underflow import underflow


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Keep denormal numbers, whatever was set before."""
    smallest = torch.tensor(2.0**-126)
    flushed = bool(smallest / 4 == 0)
    torch.set_flush_denormal(False)
    yield
    torch.set_flush_denormal(flushed)


def linear(slope: float, steps: int, dtype: torch.dtype) -> Trace:
    """h_t = slope h_{t-1} + w x_t with a loss h_T, so that the gradient at lag k is slope^k."""
    net = Recurrent("vanilla", 1, 1, bias=False, activation="identity", dtype=dtype)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").fill_(slope)
    with trace(net) as tape:
        net(torch.ones(steps, 1, 1, dtype=dtype))[0][-1].sum().backward()
    return tape.traces[0]


@pytest.mark.parametrize("exponent", [1, 3, 7])
@pytest.mark.parametrize("dtype, normal, least", [(torch.float32, 126, 149), (torch.float64, 1022, 1074)])
def test_powers_of_two_underflow_at_the_predicted_lag(dtype, normal, least, exponent):
    """2^-k is normal down to 2^-126 and denormal down to 2^-149 in single precision, by IEEE 754."""
    steps = least // exponent + 20
    found = underflow(linear(2.0**-exponent, steps, dtype))
    lag = np.arange(steps)
    share = {name: found[name].sel(state="h").values[::-1] for name in ("gradient_zeros", "gradient_denormals")}
    np.testing.assert_array_equal(share["gradient_zeros"], exponent * lag > least)
    np.testing.assert_array_equal(share["gradient_denormals"], (exponent * lag > normal) & (exponent * lag <= least))
    assert float(found["underflow_lag"].sel(state="h")) == least // exponent + 1
    assert found["gradient_zeros"].attrs["smallest_normal"] == 2.0**-normal


def test_other_slopes_end_where_the_logarithm_says():
    """Below 2^-149 a product rounds to zero or to 2^-149; with slope 0.4 the second cannot last."""
    slope = 0.4
    found = underflow(linear(slope, 150, torch.float32))
    # Denormal numbers round ever more coarsely, which moves the end by a step or so.
    assert float(found["underflow_lag"][0]) == pytest.approx(math.log(2.0**-149) / math.log(slope), abs=2)


def test_nothing_underflows_in_a_short_sequence():
    found = underflow(linear(0.5, 20, torch.float32))
    assert math.isnan(found["underflow_lag"][0])
    assert (found["gradient_zeros"] == 0).all() and (found["gradient_denormals"] == 0).all()


def test_shares_count_units_and_examples_and_only_steps_that_exist():
    """Two units with slopes 1 and 0; of two sequences one ends early."""
    net = Recurrent("vanilla", 1, 2, bias=False, activation="identity", bidirectional=True)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").copy_(torch.diag(torch.tensor([1.0, 0.0])))
        net.get_parameter("weight_hh_l0_reverse").copy_(torch.diag(torch.tensor([0.0, 0.0])))
    with trace(net) as tape:
        net(pack_sequence([torch.ones(4, 1), torch.ones(2, 1)]))[1].sum().backward()
    forward, reverse = map(underflow, tape.traces)
    np.testing.assert_array_equal(forward["gradient_zeros"].sel(state="h"), [0.5, 0.25, 0.5, 0.0])
    np.testing.assert_array_equal(reverse["gradient_zeros"].sel(state="h"), [0.0, 1.0, 1.0, 1.0])
    assert math.isnan(forward["underflow_lag"][0])
    assert float(reverse["underflow_lag"][0]) == 1


def test_an_overflown_gradient_is_no_zero():
    """1e90 is infinite in single precision, and infinity times a zero weight is not a number."""
    net = Recurrent("vanilla", 1, 2, bias=False, activation="identity")
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").copy_(1e30 * torch.eye(2))
    with trace(net) as tape:
        net(torch.ones(6, 1, 1))[0][-1].sum().backward()
    assert tape.traces[0].total[0][0].isnan().any()
    found = underflow(tape.traces[0])
    assert (found["gradient_zeros"] == 0).all()
    assert math.isnan(found["underflow_lag"][0])
