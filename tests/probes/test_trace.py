"""A trace replays what a layer did: its adjoints are back-propagation through time by hand."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

import rnnlab
from rnnlab.cells import CELLS
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent
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
    with trace(net), pytest.raises(UserError, match="twice"):
        net(torch.randn(T, B, I, dtype=torch.float64))
        net(torch.randn(T, B, I, dtype=torch.float64))
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
