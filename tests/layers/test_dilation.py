"""Dilated connections: a layer that reads its states d steps back is d layers that take turns."""

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.layers.recurrent import Recurrent
from rnnlab.training.models import SequenceModel
from rnnlab.training.runs import run

T, B, I, H = 11, 4, 3, 5
KINDS = ["vanilla", "lstm", "gru", "cornn"]


def layer(kind: str, dilation: int | list[int], num_layers: int = 1, bidirectional: bool = False) -> Recurrent:
    return Recurrent(kind, I, H, num_layers, bidirectional=bidirectional, dilation=dilation, dtype=torch.float64)


def twin(net: Recurrent, dilation: int) -> Recurrent:
    """The same weights with another dilation."""
    other = layer(net.cell.kind, dilation)
    other.load_state_dict(net.state_dict())
    return other


def inputs() -> Tensor:
    return torch.randn(T, B, I, dtype=torch.float64)


def states_of(final: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return final if isinstance(final, tuple) else (final,)


@pytest.mark.parametrize("dilation", [1, 2, 3, T + 2])
@pytest.mark.parametrize("kind", KINDS)
def test_dilation_d_is_d_interleaved_runs(kind, dilation):
    net = layer(kind, dilation)
    plain, x = twin(net, 1), inputs()
    outputs, final = net(x)
    for phase in range(dilation):
        if phase >= T:  # a turn that never came leaves the zeros it started from
            assert all((state[phase] == 0).all() for state in states_of(final))
            continue
        alone, last = plain(x[phase::dilation])
        torch.testing.assert_close(outputs[phase::dilation], alone, rtol=0, atol=1e-14)
        for state, expected in zip(states_of(final), states_of(last), strict=True):
            torch.testing.assert_close(state[phase], expected[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("cut", [1, 4, 6, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_pieces_that_carry_their_states_are_the_whole(kind, cut):
    net, x = layer(kind, [1, 2, 4], num_layers=3), inputs()
    whole, final = net(x)
    first, states = net(x[:cut])
    second, last = net(x[cut:], states, start=cut)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-13)
    torch.testing.assert_close(last, final, rtol=0, atol=1e-13)


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_packed_sequences_run_as_if_each_were_alone(kind, bidirectional):
    net = layer(kind, [2, 3], num_layers=2, bidirectional=bidirectional)
    sequences = [torch.randn(n, I, dtype=torch.float64) for n in (5, T, 1, 8)]
    packed, final = net(pack_sequence(sequences, enforce_sorted=False))
    for b, (sequence, outputs) in enumerate(zip(sequences, unpack_sequence(packed), strict=True)):
        alone, last = net(sequence)
        torch.testing.assert_close(outputs, alone, rtol=0, atol=1e-13)
        for state, expected in zip(states_of(final), states_of(last), strict=True):
            torch.testing.assert_close(state[:, b], expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kind", KINDS)
def test_a_last_step_loss_reaches_lags_that_are_multiples_of_the_dilation_and_no_others(kind):
    net, x = layer(kind, 3), inputs()
    plain = twin(net, 1)
    with rnnlab.record(net) as log:
        net(x)[0][-1].sum().backward()
    with rnnlab.record(plain) as plain_log:
        plain(x[(T - 1) % 3 :: 3])[0][-1].sum().backward()
    found, dense = (one.dataset().isel(step=0, layer=0, direction=0).sel(state="h") for one in (log, plain_log))
    lag = T - 1 - torch.arange(T)
    reached = torch.from_numpy(found["zero_fraction"].fillna(1.0).values) < 1
    assert torch.equal(reached, lag % 3 == 0)
    profile = torch.from_numpy(found["log10_grad_norm"].values)
    expected = torch.from_numpy(dense["log10_grad_norm"].values)
    torch.testing.assert_close(profile[reached], expected, rtol=0, atol=1e-10)


BASE = {
    "task": {"kind": "adding", "length": 8},
    "cell": {"kind": "gru", "hidden_size": 4},
    "training": {"steps": 4, "batch_size": 8, "eval_every": 2, "eval_examples": 10, "test_examples": 10},
    "recording": {"points": 2},
}


def config(changes: dict[str, object]) -> Config:
    return Config.parse(override(BASE, changes))


def test_the_configuration_reaches_the_layers():
    assert SequenceModel(config({})).recurrent.dilation == (1,)
    assert SequenceModel(config({"model": {"dilation": 3, "num_layers": 2}})).recurrent.dilation == (3, 3)
    deep = config({"model": {"dilation": [1, 2, 4], "num_layers": 3}})
    assert SequenceModel(deep).recurrent.dilation == (1, 2, 4)
    assert Config.parse(deep.model_dump(mode="json")) == deep
    assert run(deep).test_loss != run(config({"model.num_layers": 3})).test_loss


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"dilation": 0}, r"model.dilation: dilation = 0 is not allowed: give one positive number"),
        ({"dilation": "two"}, r"model.dilation: dilation = 'two' is not allowed"),
        ({"dilation": []}, r"model.dilation: dilation = \[\] is not allowed"),
        ({"dilation": [1, 2]}, r"dilation = \[1, 2\] has 2 numbers for num_layers = 1"),
    ],
)
def test_impossible_dilations_are_refused_in_one_sentence(model, message):
    with pytest.raises(UserError, match=message):
        config({"model": model})
