"""Contributions of single steps add up to the gradient of the weights."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from unrolled import everywhere, last_step, unroll

from rnnlab.cells import CELLS
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.contribution import contribution, weight_gradients
from rnnlab.probes.tape import trace
from rnnlab.probes.trace import Trace
from rnnlab.theory import scalar_relative_bias

T, B, I, H = 7, 4, 3, 5


def layer(kind: str, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(kind, I, H, dtype=torch.float64, **options)


def traced(net: Recurrent, x: Tensor, loss) -> Trace:
    with trace(net) as tape:
        output, states = net(x)
        loss(output, states if isinstance(states, tuple) else (states,)).backward()
    return tape.traces[0]


def by_lag(net: Recurrent, sequences: list[Tensor]) -> dict[str, list[Tensor]]:
    """Contributions to every weight, last step first, of sequences (T, I) with a loss at every output."""
    sums: dict[str, list[Tensor]] = {}
    for x in sequences:
        loop = unroll(net, x.unsqueeze(1))
        loop.outputs.sin().sum().backward()
        for lag, own in enumerate(reversed(loop.weights)):
            for name, tensor in own.items():
                if tensor.grad is not None:
                    steps = sums.setdefault(name, [torch.zeros_like(tensor)] * T)
                    steps[lag] = steps[lag] + tensor.grad
    return sums


def check(found: dict, expected: dict[str, list[Tensor]]) -> None:
    assert list(found["contribution_share"].weight) == list(expected)
    for name, steps in expected.items():
        own = {key: array.sel(weight=name).values for key, array in found.items()}
        whole = torch.stack(steps).sum(0)
        if not whole.any():  # such as a skip connection longer than the sequence
            assert np.isnan(own["contribution_share"]).all()
            continue
        for lag in range(T):
            part = torch.stack(steps[: lag + 1]).sum(0)
            product, lengths = float((part * whole).sum()), (float(part.norm()), float(whole.norm()))
            assert own["contribution_share"][lag] == pytest.approx(product / lengths[1] ** 2, abs=1e-10)
            assert own["contribution_cosine"][lag] == pytest.approx(product / lengths[0] / lengths[1], abs=1e-10)
            assert own["contribution_ratio"][lag] == pytest.approx(lengths[0] / lengths[1], abs=1e-10)
            # log10 of one step is compared as a norm: a step whose contribution is all rounding has no exact log.
            assert 10 ** own["log10_contribution"][lag] == pytest.approx(float(steps[lag].norm()), abs=1e-10)


OPTIONS = [{}, {"dilation": 3}, {"zoneout": 0.3}, {"norm": "batch"}, {"norm": "layer"}, {"norm": "batch_input"}]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "gru", "lstm"])
def test_steps_add_up_to_the_gradient_of_the_weights(kind, options):
    net = layer(kind, **options)
    found = traced(net, torch.randn(T, B, I, dtype=torch.float64), everywhere)
    parts = [weight_gradients(found, block) for block in found.blocks()]
    names = found.cell.parameter_shapes(I).keys()
    if options.get("norm") == "batch_input":  # the statistics of one step's inputs are those of all steps
        names = names - {"weight_ih", "bias_ih", "norm_gain_x"}
    assert parts[0].keys() == names
    for name in parts[0]:
        whole = torch.stack([part[name] for part in parts]).sum(0)
        # All float64: sums over other groupings of rows differ by a few ulp of numbers of order one.
        torch.testing.assert_close(whole, net.get_parameter(f"{name}_l0").grad, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_every_step_against_a_loop_with_weights_of_its_own_at_every_step(kind):
    net = layer(kind)
    x = torch.randn(T, B, I, dtype=torch.float64)
    found = contribution(traced(net, x, lambda output, states: output.sin().sum()))
    check(found, by_lag(net, [x[:, b] for b in range(B)]))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_padded_sequences_are_aligned_at_their_ends(direction):
    net = layer("lstm", bidirectional=direction == "reverse")
    sequences = [torch.randn(n, I, dtype=torch.float64) for n in (3, T, 1, 5)]
    with trace(net) as tape:
        output, _ = net(pack_sequence(sequences, enforce_sorted=False))
        output.data.sin().sum().backward()
    found = next(t for t in tape.traces if t.direction == direction)
    if direction == "reverse":  # the same weights in the forward direction of a layer that reads backwards
        sequences, alone = [x.flip(0) for x in sequences], layer("lstm")
        with torch.no_grad():
            for name in found.weights:
                alone.get_parameter(f"{name}_l0").copy_(found.weights[name])
        net = alone
    check(contribution(found), by_lag(net, sequences))


@pytest.mark.parametrize("kind", ["vanilla", "gru", "lstm"])
def test_for_a_last_step_loss_the_last_steps_make_up_truncated_back_propagation(kind):
    net = layer(kind)
    x = torch.randn(T, B, I, dtype=torch.float64)
    found = contribution(traced(net, x, last_step))
    whole = {name: parameter.grad for name, parameter in net.named_parameters()}
    for window in range(1, T):
        net.zero_grad()
        with torch.no_grad():
            states = net(x[: T - window])[1]
        last_step(net(x[T - window :], states)[0], ()).backward()
        for name, parameter in net.named_parameters():
            own = {key: array.sel(weight=name.removesuffix("_l0"), lag=window - 1) for key, array in found.items()
                   if "lag" in array.dims}  # fmt: skip
            part, all_steps = (torch.as_tensor(g).flatten() for g in (parameter.grad, whole[name]))
            cosine = torch.cosine_similarity(part, all_steps, dim=0)
            assert float(own["contribution_cosine"]) == pytest.approx(float(cosine), abs=1e-10)
            assert float(own["contribution_ratio"]) == pytest.approx(float(part.norm() / all_steps.norm()), abs=1e-10)


@pytest.mark.parametrize("dtype, scale", [(torch.float64, 1.0), (torch.float64, 1e-200), (torch.float32, 1e-30)])
def test_scalar_linear_recurrence_has_the_shares_of_a_geometric_series(dtype, scale):
    length, decay = 60, 0.9
    net = Recurrent("vanilla", 1, 1, bias=False, activation="identity", dtype=dtype)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").fill_(decay)
    found = contribution(traced(net, torch.ones(length, 1, 1, dtype=dtype), lambda y, states: scale * y[-1].sum()))
    share = found["contribution_share"].sel(weight="weight_ih").values
    expected = [1 - scalar_relative_bias(decay, n, length) for n in range(1, length + 1)]
    # float32 keeps seven digits, of which sixty additions cost about one.
    np.testing.assert_allclose(share, expected, rtol=1e-12 if dtype == torch.float64 else 1e-5)
    for name, least in {"steps_for_half": 0.5, "steps_for_90": 0.9}.items():
        steps = int(found[name].sel(weight="weight_ih"))
        assert expected[steps - 1] >= least > expected[steps - 2]


def test_what_cannot_be_told_apart_is_left_out():
    net = layer("gru", norm="batch")
    lengths = torch.tensor([3, T, 2, 5])
    with trace(net) as tape:
        net(torch.randn(T, B, I, dtype=torch.float64), lengths=lengths)[0].sum().backward()
    assert contribution(tape.traces[0]) == {}


def test_a_weight_without_gradient_has_no_shares():
    net = layer("vanilla")
    found = contribution(traced(net, torch.zeros(T, B, I, dtype=torch.float64), last_step))
    own = {name: array.sel(weight="weight_ih").values for name, array in found.items()}
    assert (own["log10_contribution"] == -np.inf).all()
    assert all(np.isnan(values).all() for name, values in own.items() if name != "log10_contribution")
