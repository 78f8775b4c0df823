"""The layers are torch.nn's: same weights from the same seed, same outputs, same gradients."""

from typing import get_args

import pytest
import torch
from torch import Tensor, nn

import rnnlab
from rnnlab.cells import CELLS, Weights
from rnnlab.errors import UserError
from rnnlab.layers import Recurrent

PAIRS = [
    pytest.param(nn.RNN, rnnlab.RNN, {}, id="tanh"),
    pytest.param(nn.RNN, rnnlab.RNN, {"nonlinearity": "relu"}, id="relu"),
    pytest.param(nn.LSTM, rnnlab.LSTM, {}, id="lstm"),
    pytest.param(nn.GRU, rnnlab.GRU, {}, id="gru"),
]
SHAPES = [
    {},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
]


def twins(torch_class, our_class, **options):
    """The same layer twice, from the same seed and so with the same weights."""
    torch.manual_seed(0)
    theirs = torch_class(3, 5, dtype=torch.float64, **options)
    torch.manual_seed(0)
    return theirs, our_class(3, 5, dtype=torch.float64, **options)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("torch_class", "our_class", "options"), PAIRS)
def test_same_seed_gives_torchs_weights_outputs_and_gradients(torch_class, our_class, options, shape):
    theirs, ours = twins(torch_class, our_class, **options, **shape)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    for name, value in theirs.state_dict().items():
        assert torch.equal(value, ours.state_dict()[name]), name
    x = torch.randn(7, 4, 3, dtype=torch.float64)
    for layer in (theirs, ours):
        output, state = layer(x)
        states = state if isinstance(state, tuple) else (state,)
        (output.square().sum() + sum(s.sin().sum() for s in states)).backward()
    # Sums in another order: a few ulp of float64.
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)
    for (name, theirs_p), ours_p in zip(theirs.named_parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(ours_p.grad, theirs_p.grad, rtol=1e-10, atol=1e-10, msg=name)


@pytest.mark.parametrize(("torch_class", "our_class", "options"), PAIRS)
def test_initial_states_and_a_single_sequence(torch_class, our_class, options):
    theirs, ours = twins(torch_class, our_class, num_layers=2, **options)
    x = torch.randn(7, 3, dtype=torch.float64)
    h = torch.randn(2, 5, dtype=torch.float64)
    hx = (h, h.cos()) if torch_class is nn.LSTM else h
    torch.testing.assert_close(ours(x, hx), theirs(x, hx), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("torch_class", "our_class", "options"), PAIRS)
def test_a_sequence_in_pieces_is_the_whole(torch_class, our_class, options):
    del torch_class
    layer = our_class(3, 5, num_layers=2, **options, dtype=torch.float64)
    x = torch.randn(9, 4, 3, dtype=torch.float64)
    whole, final = layer(x)
    first, state = layer(x[:4])
    second, state = layer(x[4:], state, start=4)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-14)


def test_convert_shares_parameters_and_gives_the_same_answer():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = nn.ModuleDict({"a": nn.LSTM(3, 5, 2, batch_first=True), "b": nn.GRU(5, 4)})
            self.out = nn.Linear(4, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.rnn["b"](self.rnn["a"](x)[0])[0])

    model = Tagger().double()
    x = torch.randn(6, 7, 3, dtype=torch.float64)
    before, parameters = model(x), list(model.parameters())
    assert rnnlab.convert(model) is model
    assert isinstance(model.rnn["a"], rnnlab.LSTM)
    assert all(a is b for a, b in zip(parameters, model.parameters(), strict=True))
    torch.testing.assert_close(model(x), before, rtol=1e-12, atol=1e-12)
    assert isinstance(rnnlab.convert(nn.RNN(2, 3)), rnnlab.RNN)


def test_residual_links_add_the_layer_below():
    layer = Recurrent("vanilla", 3, 5, num_layers=2, residual_layers=True, dtype=torch.float64)
    plain = Recurrent("vanilla", 3, 5, num_layers=2, dtype=torch.float64)
    plain.load_state_dict(layer.state_dict())
    bottom = Recurrent("vanilla", 3, 5, dtype=torch.float64)
    bottom.load_state_dict({k: v for k, v in layer.state_dict().items() if "_l0" in k})
    x = torch.randn(6, 2, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x)[0], plain(x)[0] + bottom(x)[0], rtol=0, atol=1e-14)


def kinds_of_norm() -> list[tuple[str, dict[str, str]]]:
    """Every cell with every normalisation that it has."""
    cases: list[tuple[str, dict[str, str]]] = []
    for kind in sorted(CELLS):
        field = CELLS[kind].model_fields.get("norm")
        cases += [(kind, {"norm": norm}) for norm in get_args(field.annotation)] if field else [(kind, {})]
    return cases


@pytest.mark.parametrize(("kind", "norm"), kinds_of_norm(), ids=str)
def test_gradcheck(kind, norm):
    torch.manual_seed(0)
    layer = Recurrent(kind, 2, 3, **norm, steps=4, dtype=torch.float64).eval()
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x)[0], (x, *layer.parameters()))


def test_wrong_shapes_are_refused_in_one_sentence():
    layer = rnnlab.LSTM(3, 5)
    with pytest.raises(UserError, match="input_size. Expected 3, got 2"):
        layer(torch.zeros(7, 4, 2))
    with pytest.raises(UserError, match="2 states"):
        layer(torch.zeros(7, 4, 3), torch.zeros(1, 4, 5))
    with pytest.raises(UserError, match="no time steps"):
        layer(torch.zeros(0, 4, 3))
    with pytest.raises(AttributeError, match="no weight 'weight_x'"):
        _ = Weights({}, False).weight_x
