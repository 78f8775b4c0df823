"""A trace replays what a layer did: its adjoints are back-propagation through time by hand."""

from functools import cache
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import rnnlab
from rnnlab.cells import CELLS
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent
from rnnlab.plots import spectrum
from rnnlab.probes.lagged import lagged
from rnnlab.probes.tape import trace

T, B, I, H = 7, 4, 3, 5

# All float64: replayed sums run over other groupings of rows, a few ulp of numbers of order one.
CLOSE: dict[str, Any] = {"rtol": 1e-10, "atol": 1e-12}


def layer(kind: str, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(kind, I, H, dtype=torch.float64, **options)


def last_step(output: Tensor, states: Any) -> Tensor:
    del states
    return output[-1].square().sum()


def everywhere(output: Tensor, states: Any) -> Tensor:
    """A loss at every step and at the final states."""
    states = states if isinstance(states, tuple) else (states,)
    return output.sin().sum() + sum(s.square().sum() for s in states)


@pytest.mark.parametrize("loss", [last_step, everywhere])
@pytest.mark.parametrize("kind", sorted(CELLS))
def test_back_propagation_by_hand_is_the_total_gradient(kind, loss):
    net = layer(kind)
    with trace(net) as tape:
        loss(*net(torch.randn(T, B, I, dtype=torch.float64))).backward()
    (found,) = tape.traces
    torch.testing.assert_close(found.adjoints[0], found.total[0], **CLOSE)


def test_the_cell_states_total_gradient_adds_the_path_through_the_same_steps_output():
    net = layer("lstm")
    with trace(net) as tape:
        everywhere(*net(torch.randn(T, B, I, dtype=torch.float64))).backward()
    (found,) = tape.traces
    _, c = found.after
    o = next(found.replay(block).gates["output"].after for block in found.blocks()).view(T, B, H)
    through_output = found.total[0] * o * (1 - torch.tanh(c) ** 2)
    torch.testing.assert_close(found.adjoints[1] + through_output, found.total[1], **CLOSE)


@pytest.mark.parametrize("options", [{"dilation": 3}, {"norm": "batch"}, {"zoneout": 0.3}], ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "gru", "lstm"])
def test_dilated_normalised_and_noisy_layers_replay_as_they_ran(kind, options):
    net = layer(kind, **options)
    with trace(net) as tape:
        everywhere(*net(torch.randn(T, B, I, dtype=torch.float64))).backward()
    (found,) = tape.traces
    torch.testing.assert_close(found.adjoints[0], found.total[0], **CLOSE)
    for block in found.blocks():
        for made, replayed in zip(found.gather(block, found.after), found.replay(block).after, strict=True):
            torch.testing.assert_close(replayed, made, **CLOSE)


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_packed_sequences_in_both_directions(kind):
    net = layer(kind, bidirectional=True)
    packed = pack_sequence([torch.randn(n, I, dtype=torch.float64) for n in (3, T, 1, 5)], enforce_sorted=False)
    with trace(net) as tape:
        output, states = net(packed)
        everywhere(output.data, states).backward()
    for found in tape.traces:
        for k, size in enumerate(found.sizes):
            torch.testing.assert_close(found.adjoints[0][k, :size], found.total[0][k, :size], **CLOSE)
        blocks = list(found.blocks())
        placed = found.place([(block, found.gather(block, found.total)[0]) for block in blocks])
        lengths = (~placed.isnan().all(-1)).sum(0)
        assert lengths.tolist() == [3, T, 1, 5]


def test_deep_models_tell_their_layers_apart_and_tracing_changes_no_gradient():
    x = torch.randn(T, B, I, dtype=torch.float64)
    gradients = []
    for traced in (False, True):
        net = layer("lstm", num_layers=2)
        if traced:
            with trace(net) as tape:
                last_step(*net(x)).backward()
            assert [found.layer for found in tape.traces] == [0, 1]
        else:
            last_step(*net(x)).backward()
        gradients.append([p.grad for p in net.parameters()])
    for a, b in zip(*gradients, strict=True):  # to rounding: a traced layer runs by the reference scan
        torch.testing.assert_close(a, b, **CLOSE)


def test_direct_gradient_of_a_last_step_loss_is_zero_before():
    net = layer("gru")
    with trace(net) as tape:
        last_step(*net(torch.randn(T, B, I, dtype=torch.float64))).backward()
    (found,) = tape.traces
    assert (found.direct[0][:-1] == 0).all()
    torch.testing.assert_close(found.direct[0][-1], found.total[0][-1], rtol=0, atol=0)


def test_misuse_is_refused():
    net = layer("gru")
    with trace(net) as tape:
        net(torch.randn(T, B, I, dtype=torch.float64))
    with pytest.raises(UserError, match="empty"):
        _ = tape.traces
    with trace(net) as tape:
        last_step(*net(torch.randn(T, B, I, dtype=torch.float64))).backward()
    with pytest.raises(UserError, match="total_gradient"):
        rnnlab.measure(tape.traces, ["total_gradeint"])
    with pytest.raises(UserError, match="give a list"):
        rnnlab.measure(tape.traces, "paths")
    with pytest.raises(UserError, match=r"give `tape.traces`"):
        rnnlab.measure(tape)  # type: ignore[arg-type]


def test_every_probe_counts_time_from_the_start_and_keeps_the_order_of_the_cell():
    net = layer("lstm")
    with trace(net) as tape:
        last_step(*net(torch.randn(T, B, I, dtype=torch.float64), start=10)).backward()
    measured = rnnlab.measure(tape.traces, "standard")
    assert measured["time"].values.tolist() == list(range(10, 10 + T))
    assert measured["gate"].values.tolist() == ["input", "forget", "cell", "output"]


def test_the_probe_of_a_trace_equals_the_record():
    net = layer("lstm", num_layers=2, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(net) as log, trace(net) as tape:
        everywhere(*net(x)).backward()
    recorded = log.dataset().isel(step=0, drop=True)
    measured = rnnlab.measure(tape.traces, ["total_gradient"])
    for name in ("log10_grad_norm", "log10_grad_norm_min", "log10_grad_norm_max"):
        difference = measured[name] - recorded[name]
        assert difference.size == recorded[name].size
        assert float(abs(difference).max()) < 1e-12


@pytest.mark.parametrize(("kind", "options"), [("lstm", {}), ("gru", {"num_layers": 2}), ("vanilla", {"dilation": 2})])
def test_a_decoder_that_runs_step_by_step_is_one_sequence_where_start_says_so(kind, options):
    net, x = layer(kind, **options), torch.randn(T, B, I, dtype=torch.float64)

    def whole() -> Tensor:
        y, middle = net(x[:4])
        rest, states = net(x[4:], middle, start=4)
        y = torch.cat([y, rest])
        middle, states = (s if isinstance(s, tuple) else (s,) for s in (middle, states))
        return everywhere(y, middle) + last_step(y, states) + sum(s.sin().sum() for s in middle)

    def steps() -> Tensor:
        outputs, states, middle = [], None, ()
        for t, x_t in enumerate(x.split(1)):
            y, states = net(x_t, states, start=t)
            outputs.append(y)
            middle = (states if isinstance(states, tuple) else (states,)) if t == 3 else middle
        y, states = torch.cat(outputs), states if isinstance(states, tuple) else (states,)
        return everywhere(y, middle) + last_step(y, states) + sum(s.sin().sum() for s in middle)

    tapes = []
    for loss in (whole, steps):
        with trace(net) as tape:
            loss().backward()
        tapes.append(tape)
    for together, single in zip(*(tape.traces for tape in tapes), strict=True):
        for name in ("total", "direct", "before", "after", "adjoints"):
            torch.testing.assert_close(getattr(single, name), getattr(together, name), **CLOSE)
        torch.testing.assert_close(single.adjoints[0], single.total[0], **CLOSE)
    found, expected = (rnnlab.measure(tape.traces, "full") for tape in tapes)
    assert found["call"].values.tolist() == [0] * net.num_layers
    xr.testing.assert_allclose(found, expected, atol=1e-6)


def test_calls_that_nothing_joins_have_places_of_their_own():
    net, x = layer("gru"), torch.randn(T, B, I, dtype=torch.float64)
    with trace(net) as tape:
        (net(x)[0].sum() + net(x[:3])[0].square().sum()).backward()
    both = rnnlab.measure(tape.traces, "standard")
    assert (both["layer"].values.tolist(), both["call"].values.tolist()) == ([0, 0], [0, 1])
    with trace(net) as tape:
        net(x[:3])[0].square().sum().backward()
    alone = rnnlab.measure(tape.traces, "standard")["log10_grad_norm"].isel(layer=0)
    np.testing.assert_allclose(both["log10_grad_norm"].isel(layer=1, time=slice(3)), alone, atol=1e-12)
    assert both["log10_grad_norm"].isel(layer=1, time=slice(3, None)).isnull().all()
    with trace(net) as tape:  # a state whose gradient is cut off joins nothing
        _, state = net(x[:3])
        (net(x[3:], state.detach(), start=3)[0].sum() + state.sum()).backward()
    assert [(one.start, one.steps, one.call) for one in tape.traces] == [(0, 3, 0), (3, T - 3, 1)]


PRECISE = {
    "log10_grad_norm": 0.1,
    "log10_spectral_norm": 0.02,
    "recurrent_norm": 0.02,
    "gate_mean": 0.02,
    "mean_slope": 0.02,
}


@cache
def in_precision(kind: str, weights: torch.dtype, autocast: torch.dtype | None) -> xr.Dataset:
    """Everything of the same layer and inputs, with weights of this type; measured once for all that ask."""
    precise, net = layer(kind), Recurrent(kind, I, H, dtype=weights)
    net.load_state_dict(precise.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(weights)
    with trace(net) as tape:
        with torch.autocast("cpu", autocast, enabled=autocast is not None):
            y, _ = net(x)
        y[-1].double().square().sum().backward()
    return rnnlab.measure(tape.traces, "full")


@pytest.mark.parametrize("kind", ["lstm", "vanilla"])
@pytest.mark.parametrize(
    ("weights", "autocast"),
    [(torch.bfloat16, None), (torch.float16, None), (torch.float32, torch.bfloat16), (torch.float32, torch.float16)],
    ids=str,
)
def test_models_of_low_precision_are_measured_to_their_precision(weights, autocast, kind):
    ours, exact = in_precision(kind, weights, autocast), in_precision(kind, torch.float64, None)
    assert ours.sizes == exact.sizes
    for name, tolerance in PRECISE.items():
        if name in exact:
            np.testing.assert_allclose(ours[name], exact[name], atol=tolerance, err_msg=name)
    if autocast is None:
        assert ours["gradient_zeros"].attrs["dtype"] == str(weights).removeprefix("torch.")


@pytest.mark.parametrize("around", [torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16), torch.no_grad])
def test_what_is_switched_on_around_the_measuring_changes_nothing(around):
    net, x = layer("lstm"), torch.randn(T, B, I, dtype=torch.float64)
    net, x = net.float(), x.float()
    tapes = []
    for _ in range(2):
        with trace(net) as tape:
            last_step(*net(x)).backward()
        tapes.append(tape)
    with around():
        found = rnnlab.measure(tapes[0].traces, "full")
        assert np.isfinite(lagged(tapes[0].traces[0])["log10_lagged_norm"]).all()
    xr.testing.assert_identical(found, rnnlab.measure(tapes[1].traces, "full"))


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("kind", ["lstm", "gru", "vanilla"])
def test_of_weights_that_are_no_numbers_nothing_is_claimed(kind, value):
    net = layer(kind)
    net.get_parameter("weight_hh_l0").data[0, 0] = value
    with trace(net) as tape:
        last_step(*net(torch.randn(T, B, I, dtype=torch.float64))).backward()
    found = rnnlab.measure(tape.traces, "full")
    assert found["log10_spectral_norm"].isnull().all()
    if kind == "lstm":
        assert (
            not np.isfinite(found["recurrent_norm"].sel(gate="input"))
            and found["recurrent_norm"][..., 1:].notnull().all()
        )
    with pytest.raises(UserError, match="NaN or infinite weights"):
        spectrum(net)
