"""An orthogonal recurrence keeps the gradient norm, and training keeps it orthogonal."""

import copy
import math

import pytest
import torch
from loops import dot, log10_norms, run, weights_of

from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 30, 3, 3, 7
MAPS = ["matrix_exp", "cayley"]
PHI = {
    "identity": lambda z, b: z,
    "tanh": lambda z, b: math.tanh(z),
    "relu": lambda z, b: max(z, 0.0),
    "modrelu": lambda z, b: math.copysign(max(0.0, abs(z) + b), z),
}


def train(net: Recurrent, steps: int = 20) -> None:
    """Large steps with weight decay, which pulls free weights towards zero."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.randn(5, B, I, dtype=torch.float64))[0].square().sum().backward()
        optimizer.step()


def assert_orthogonal(Q: torch.Tensor) -> None:
    # A product of H = 7 rounded terms an entry, and a Taylor series of a few such products: some 1e-15.
    torch.testing.assert_close(Q @ Q.T, torch.eye(len(Q), dtype=Q.dtype), rtol=0, atol=1e-13)


@pytest.mark.parametrize("activation", sorted(PHI))
def test_it_follows_its_equation_unit_by_unit(activation):
    net = Recurrent("orthogonal", I, H, activation=activation, scale=0.9, dtype=torch.float64)
    if activation == "modrelu":
        with torch.no_grad():
            net.get_parameter("modrelu_bias_l0").uniform_(-0.3, 0.3)
    p = weights_of(net)
    shift = p.get("modrelu_bias", [0.0] * H)

    def step(x, states):
        (h,) = states
        z = [dot(p["weight_ih"][j], x) + p["bias_ih"][j] + 0.9 * dot(p["weight_hh"][j], h) for j in range(H)]
        return ([PHI[activation](z[j], shift[j]) for j in range(H)],)

    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(net(x)[0], run(step, x, H), rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1.0, 0.8])
@pytest.mark.parametrize("map", MAPS)
def test_without_activation_every_step_back_multiplies_the_norm_by_the_scale_trained_or_not(map, scale):
    net = Recurrent("orthogonal", I, H, activation="identity", map=map, scale=scale, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    for _ in range(2):
        steps = log10_norms(net, x).diff(dim=0)
        torch.testing.assert_close(steps, torch.full_like(steps, -math.log10(scale)), rtol=0, atol=1e-10)
        train(net)


@pytest.mark.parametrize("start", ["uniform", "rotations"])
@pytest.mark.parametrize("map", MAPS)
@pytest.mark.parametrize("size", [1, 2, H])
def test_it_starts_and_stays_orthogonal_and_moves(map, start, size):
    net = Recurrent("orthogonal", I, size, map=map, start=start, dtype=torch.float64)
    before = net.weights().weight_hh.detach().clone()
    assert_orthogonal(before)
    train(net)
    assert_orthogonal(net.weights().weight_hh)
    assert torch.equal(net.weights().weight_hh, before) == (size == 1)  # of one unit, only 1 and -1 are orthogonal


def test_rotations_turn_pairs_of_units_and_leave_the_odd_one():
    Q = Recurrent("orthogonal", I, H, start="rotations", dtype=torch.float64).weights().weight_hh.detach()
    pairs = [Q[k : k + 2, k : k + 2] for k in range(0, H - 1, 2)]
    torch.testing.assert_close(torch.block_diag(*pairs, torch.eye(1)), Q, rtol=0, atol=0)
    for pair in pairs:
        assert float(pair.det()) == pytest.approx(1, abs=1e-14)
    angles = torch.stack([torch.atan2(pair[1, 0], pair[0, 0]) for pair in pairs])
    assert len(angles.unique()) == len(pairs)


@pytest.mark.parametrize("map", MAPS)
def test_copies_and_saved_states_hold_the_same_matrix(map):
    net = Recurrent("orthogonal", I, H, num_layers=2, map=map, dtype=torch.float64)
    train(net)
    again = Recurrent("orthogonal", I, H, num_layers=2, map=map, dtype=torch.float64)
    again.load_state_dict(net.state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64)
    for other in (again, copy.deepcopy(net)):
        assert torch.equal(other(x)[0], net(x)[0])
        before = net.weights().weight_hh.detach().clone()
        train(other, steps=2)
        assert torch.equal(net.weights().weight_hh, before)
        assert_orthogonal(other.weights().weight_hh)


def test_drawing_anew_gives_another_orthogonal_matrix():
    net = Recurrent("orthogonal", I, H, dtype=torch.float64)
    train(net)
    net.reset_parameters(torch.Generator().manual_seed(5))
    first = net.weights().weight_hh.detach().clone()
    net.reset_parameters(torch.Generator().manual_seed(5))
    assert torch.equal(net.weights().weight_hh, first)
    assert_orthogonal(first)
    assert torch.equal(
        Recurrent("orthogonal", I, H, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
        .weights()
        .weight_hh,
        first,
    )
