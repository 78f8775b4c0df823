"""Stacks of any cell; test_dropin.py compares those of torch.nn with torch."""

from typing import get_args

import pytest
import torch

import rnnlab
from rnnlab.cells import CELLS, Weights, make_cell
from rnnlab.common.errors import UserError
from rnnlab.layers.initialization import Initialization
from rnnlab.layers.recurrent import Recurrent


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_a_sequence_in_pieces_is_the_whole(kind):
    layer = Recurrent(kind, 3, 5, num_layers=2, dtype=torch.float64)
    x = torch.randn(9, 4, 3, dtype=torch.float64)
    whole, final = layer(x)
    first, state = layer(x[:4])
    second, state = layer(x[4:], state, start=4)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-14)
    torch.testing.assert_close(state, final, rtol=0, atol=1e-14)


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
        norms = get_args(field.annotation) if field else ()
        norms = [norm for norm in norms if norm != "batch_sum" or CELLS[kind].adds_products]
        cases += [(kind, {"norm": norm}) for norm in norms] or [(kind, {})]
    return cases


@pytest.mark.parametrize(("kind", "norm"), kinds_of_norm(), ids=str)
def test_gradcheck(kind, norm):
    torch.manual_seed(0)
    layer = Recurrent(kind, 2, 3, **norm, steps=4, dtype=torch.float64).eval()
    x = torch.randn(4, 2, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x, *_: layer(x)[0], (x, *layer.parameters()), fast_mode=True)


def test_wrong_shapes_are_refused_in_one_sentence():
    layer = rnnlab.LSTM(3, 5)
    with pytest.raises(UserError, match="Expected 3, got 2"):
        layer(torch.zeros(7, 4, 2))
    with pytest.raises(UserError, match="2 states"):
        layer(torch.zeros(7, 4, 3), torch.zeros(1, 4, 5))
    with pytest.raises(UserError, match="no time steps"):
        layer(torch.zeros(0, 4, 3))
    state = torch.zeros(1, 4, 5)
    with pytest.raises(UserError, match=r"hx dtype \(torch.float32, torch.float64\) does not match input dtype"):
        layer(torch.zeros(7, 4, 3), (state, state.double()))
    with pytest.raises(UserError, match=r"hx dtype \(torch.float64\) .*: state.to\(torch.float32\)"):
        Recurrent("indrnn", 3, 5)(torch.zeros(7, 4, 3), state.double())
    with pytest.raises(AttributeError, match="no weight 'weight_x'"):
        _ = Weights({}, False).weight_x


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("lstm", 0, 3), {}, "input_size = 0"),
        (("lstm", 2, 3, 0), {}, "num_layers = 0"),
        (("lstm", 2, 3), {"dropout": 3.0}, "dropout = 3.0"),
        (("lstm", 2, 3), {"bias": False, "forget_bias": 1.0}, "bias = False"),
        (("vanilla", 2, 3), {"init": Initialization(bias="chrono")}, "'vanilla' has not"),
        ((make_cell("gru", hidden_size=3), 2, 7), {}, "leave them out"),
        ((make_cell("gru", hidden_size=3), 2), {"zoneout": 0.5}, "leave them out"),
    ],
)
def test_layers_that_cannot_be_are_refused_in_one_sentence(arguments, options, message):
    with pytest.raises(UserError, match=message):
        Recurrent(*arguments, **options)
