"""The variants of the LSTM, unit by unit, and what each must have in common with the plain one."""

import math
from itertools import pairwise

import pytest
import torch
from loops import dot, run, weights_of
from torch import nn

from rnnlab.cells import make_cell
from rnnlab.common.errors import UserError
from rnnlab.layers.initialization import Initialization
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 5, 3, 3, 4
VARIANTS = [
    {},
    {"input_gate": False},
    {"forget_gate": False},
    {"output_gate": False},
    {"coupled": True},
    {"peepholes": True},
    {"input_activation": False},
    {"output_activation": False},
    {"proj_size": 2},
    {"peepholes": True, "coupled": True, "proj_size": 3},
    {"peepholes": True, "forget_gate": False, "output_activation": False},
    {"input_gate": False, "forget_gate": False, "output_gate": False, "input_activation": False},
]


def sigmoid(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def by_hand(net: Recurrent, **options: object):
    """One step of Greff et al. 2017, section 2, with parts left out; rows in torch's order."""
    p = weights_of(net)
    left_out = {name for name in ("input", "forget", "output") if options.get(f"{name}_gate") is False}
    left_out |= {"input"} if options.get("coupled") else set()
    first_row = {
        name: k * H for k, name in enumerate(n for n in ("input", "forget", "cell", "output") if n not in left_out)
    }

    def step(x, states):
        h, c = states
        made = []
        for j in range(H):

            def z(name: str, j: int = j) -> float:
                r = first_row[name] + j
                return dot(p["weight_ih"][r], x) + p["bias_ih"][r] + dot(p["weight_hh"][r], h) + p["bias_hh"][r]

            def gate(name: str, letter: str, cell: float, j: int = j) -> float:
                if name in left_out:
                    return 1.0
                return sigmoid(z(name) + (p[f"weight_c{letter}"][j] * cell if options.get("peepholes") else 0.0))

            f = gate("forget", "f", c[j])
            i = 1 - f if options.get("coupled") else gate("input", "i", c[j])
            g = z("cell") if options.get("input_activation") is False else math.tanh(z("cell"))
            new = f * c[j] + i * g
            made.append((new, gate("output", "o", new)))
        c = [new for new, _ in made]
        y = [o * (new if options.get("output_activation") is False else math.tanh(new)) for new, o in made]
        return ([dot(row, y) for row in p["weight_hr"]] if options.get("proj_size") else y), c

    return step


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_every_variant_follows_its_equations_unit_by_unit(options):
    net = Recurrent("lstm", I, H, dtype=torch.float64, **options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    expected = run(by_hand(net, **options), x, options.get("proj_size", H), H)
    torch.testing.assert_close(net(x)[0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
def test_projection_is_torchs(shape):
    torch.manual_seed(0)
    theirs = nn.LSTM(I, H, proj_size=2, dtype=torch.float64, **shape)
    torch.manual_seed(0)
    ours = Recurrent("lstm", I, H, proj_size=2, dtype=torch.float64, **shape)
    assert list(theirs.state_dict()) == list(ours.state_dict())
    assert all(torch.equal(value, ours.state_dict()[name]) for name, value in theirs.state_dict().items())
    x = torch.randn(T, B, I, dtype=torch.float64)
    for layer in (theirs, ours):
        output, (h, c) = layer(x)
        (output.square().sum() + h.sin().sum() + c.sin().sum()).backward()
    torch.testing.assert_close(ours(x), theirs(x), rtol=1e-12, atol=1e-12)  # sums in another order
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-10, atol=1e-12)


def test_coupled_gates_are_an_input_gate_of_opposite_pre_activation():
    """σ(-z) = 1 - σ(z), so it does not matter which of the two gates the weights belong to."""
    coupled = Recurrent("lstm", I, H, coupled=True, dtype=torch.float64)
    plain = Recurrent("lstm", I, H, dtype=torch.float64)
    plain.load_state_dict({name: torch.cat([-value[:H], value]) for name, value in coupled.state_dict().items()})
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(coupled(x), plain(x), rtol=0, atol=1e-14)


def test_peepholes_of_zero_see_nothing():
    seeing = Recurrent("lstm", I, H, peepholes=True, dtype=torch.float64)
    plain = Recurrent("lstm", I, H, dtype=torch.float64)
    plain.load_state_dict({name: seeing.state_dict()[name] for name in plain.state_dict()})
    x = torch.randn(T, B, I, dtype=torch.float64)
    assert not torch.equal(seeing(x)[0], plain(x)[0])
    with torch.no_grad():
        for name in ("weight_ci", "weight_cf", "weight_co"):
            assert 0 < seeing.get_parameter(f"{name}_l0").abs().max() <= 1 / math.sqrt(H)
            seeing.get_parameter(f"{name}_l0").zero_()
        torch.testing.assert_close(seeing(x)[0], plain(x)[0], rtol=0, atol=1e-14)


@pytest.mark.parametrize("options", [{"coupled": True}, {"input_gate": False}], ids=str)
def test_chrono_and_forget_bias_find_the_forget_gate_wherever_it_stands(options):
    chrono = Recurrent("lstm", I, 64, init=Initialization(bias="chrono"), steps=200, **options)
    forget, *others = chrono.get_parameter("bias_ih_l0").detach().split(64)
    assert forget.min() >= 0 and 10 < forget.exp().max() <= 199
    assert not any(other.any() for other in others)
    biased = Recurrent("lstm", I, H, forget_bias=1.5, **options)
    total = biased.get_parameter("bias_ih_l0") + biased.get_parameter("bias_hh_l0")
    assert (total[:H] == 1.5).all() and not (total[H:] == 1.5).any()


def test_the_gates_that_exist_keep_torchs_order():
    order = ["input", "forget", "cell", "output"]
    for options in VARIANTS:
        gates = make_cell("lstm", **options).gates
        assert all(order.index(a) < order.index(b) for a, b in pairwise(gates))
    assert make_cell("lstm").gates == tuple(order)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"coupled": True, "input_gate": False}, "coupled = true needs both gates"),
        ({"coupled": True, "forget_gate": False}, "coupled = true needs both gates"),
        ({"forget_bias": 1.0, "forget_gate": False}, "forget_bias = 1.0 needs a forget gate"),
        (
            {"peepholes": True, "input_gate": False, "forget_gate": False, "output_gate": False},
            "peepholes = true needs a gate",
        ),
        ({"proj_size": 4, "hidden_size": 4}, "proj_size = 4 must be smaller than hidden_size = 4"),
    ],
)
def test_impossible_combinations_are_refused(options, message):
    with pytest.raises(UserError, match=message):
        make_cell("lstm", **options)
