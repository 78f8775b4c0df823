"""Fixed points against closed forms: a flip-flop by hand, a pair that has just vanished, linear maps."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from jacobians import layer, sequence, traced

import rnnlab
from rnnlab.cells import CELLS
from rnnlab.config.config import Config
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.fixed_points import fixed_points
from rnnlab.probes.tape import trace
from rnnlab.tasks.flip_flop import FlipFlop


def flip_flop() -> Any:
    """Three units that each hold a bit, h = tanh(2 h + 4 x), and what they do with pulses."""
    net: Any = Recurrent("vanilla", 3, 3, bias=False, dtype=torch.float64)
    with torch.no_grad():
        net.weight_hh_l0.copy_(2 * torch.eye(3))
        net.weight_ih_l0.copy_(4 * torch.eye(3))
    return net


def test_a_three_bit_flip_flop_has_eight_stable_points():
    net = flip_flop()
    inputs, targets = FlipFlop(length=200).sample(torch.Generator().manual_seed(0), 8)
    with trace(net) as tape:
        output, _ = net(inputs.double())
        output.sum().backward()
    assert ((output > 0) == (targets > 0)).all()  # it does what a flip-flop does
    found = fixed_points(tape.traces[0], starts=200)
    stable = found["unstable_directions"].values == 0
    assert stable.sum() == 8
    h = 1.0
    for _ in range(100):
        h = float(np.tanh(2 * h))
    expected = sorted(product((-h, h), repeat=3))
    np.testing.assert_allclose(sorted(found["fixed_point"].values[stable].tolist()), expected, rtol=1e-10)
    np.testing.assert_allclose(found["fixed_point_modulus"].values[stable], 2 * (1 - h**2), rtol=1e-8)


def test_from_everywhere_it_has_the_nineteen_saddles_too():
    """Every unit by itself is at ±h or at 0, where its eigenvalue is 2: 27 points, unstable in as many directions as
    there are units at 0."""
    net = flip_flop()
    states = 2 * torch.rand(1, 400, 3, generator=torch.Generator().manual_seed(0)).double() - 1
    with trace(net) as tape:
        output, _ = net(torch.zeros(1, 400, 3).double(), states)
        output.sum().backward()
    found = fixed_points(tape.traces[0], starts=400)
    assert sorted(found["unstable_directions"].values.tolist()) == [0] * 8 + [1] * 12 + [2] * 6 + [3]
    at_rest = np.abs(found["fixed_point"].values) < 1e-8
    assert (at_rest.sum(1) == found["unstable_directions"].values).all()
    assert (found["log10_fixed_point_speed"].values < -20).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vanilla", "gru"])
def test_a_flip_flop_that_is_trained_has_eight_stable_points(kind):
    settings = {"task": {"kind": "flip_flop", "length": 50}, "cell": {"kind": kind, "hidden_size": 32}}
    config = Config.parse(settings | {"optimizer": {"lr": 0.005}, "training": {"steps": 1500, "batch_size": 32}})
    model = rnnlab.run(config).model
    assert model is not None
    batch = config.task.sample(torch.Generator().manual_seed(1), 16)
    with trace(model) as tape:
        config.task.losses(model(batch.inputs)[0], batch.targets).mean().backward()
    found = fixed_points(tape.traces[0])
    fixed = found["log10_fixed_point_speed"] < -20
    assert int((fixed & (found["unstable_directions"] == 0)).sum()) == 8


def test_where_two_points_have_just_vanished_a_slow_point_is_left():
    """h = tanh(2 h + b) loses a pair of points at b = arctanh(r) - 2 r with r = sqrt(1/2); beyond it the speed is least
    where the slope is 1, at h = -r or r."""
    net: Any = Recurrent("vanilla", 1, 1, dtype=torch.float64)
    r = np.sqrt(0.5)
    gap = 1e-3
    with torch.no_grad():
        net.weight_hh_l0.fill_(2.0)
        net.bias_ih_l0.fill_(-(np.arctanh(r) - 2 * r) + gap)
        net.bias_hh_l0.zero_()
    with trace(net) as tape:
        net(torch.zeros(1, 50, 1).double(), torch.linspace(-1, 1, 50).double().view(1, 50, 1))[0].sum().backward()
    found = fixed_points(tape.traces[0])
    speeds = 10 ** found["log10_fixed_point_speed"].values
    slow = speeds > 1e-20
    assert slow.sum() == 1
    assert found["fixed_point"].values[slow].item() == pytest.approx(-r, abs=2 * gap)
    assert found["fixed_point_modulus"].values[slow].item() == pytest.approx(1, abs=1e-4)
    assert speeds[slow].item() == pytest.approx(0.5 * (gap / 2) ** 2, rel=0.01)  # tanh' is 1/2 there


def test_a_linear_map_has_one_point_with_its_own_eigenvalues_wherever_one_starts():
    matrix = torch.tensor([[0.9, -0.5, 0.0], [0.5, 0.9, 0.0], [0.0, 0.0, 0.3]], dtype=torch.float64)
    net: Any = Recurrent("vanilla", 1, 3, activation="identity", dtype=torch.float64)
    with torch.no_grad():
        net.weight_hh_l0.copy_(matrix)
    bias = (net.bias_ih_l0 + net.bias_hh_l0).detach()
    found = fixed_points(traced(net, torch.randn(4, 3, 1).double()))
    expected = torch.linalg.solve(torch.eye(3).double() - matrix, bias)
    np.testing.assert_allclose(found["fixed_point"], expected[None], rtol=1e-9)
    np.testing.assert_allclose(found["fixed_point_modulus"], [[1.06**0.5, 1.06**0.5, 0.3]], rtol=1e-10)
    angles = np.arctan2(0.5, 0.9)
    np.testing.assert_allclose(sorted(found["fixed_point_angle"].values[0]), [-angles, 0, angles], atol=1e-10)
    assert found["unstable_directions"].values.tolist() == [2]


def test_a_line_of_fixed_points_is_found_where_one_starts():
    """One direction is kept as it is, so that the system of a step down is singular."""
    net: Any = Recurrent("vanilla", 1, 2, activation="identity", bias=False, dtype=torch.float64)
    with torch.no_grad():
        net.weight_hh_l0.copy_(torch.tensor([[1.0, 0.0], [0.0, 0.5]]))
    found = fixed_points(traced(net, torch.randn(5, 1, 1).double()))
    assert len(found["fixed_point"]) == 5
    np.testing.assert_allclose(found["fixed_point"][:, 1], 0, atol=1e-9)
    np.testing.assert_allclose(found["fixed_point_modulus"], np.tile([1.0, 0.5], (5, 1)))


def test_what_has_overflown_has_no_points():
    net: Any = Recurrent("vanilla", 1, 2, activation="identity", dtype=torch.float64)
    with torch.no_grad():
        net.weight_hh_l0.fill_(torch.inf)
    assert fixed_points(traced(net, sequence(3, 1)[..., :1])) == {}


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_any_cell_stays_where_it_is_said_to(kind):
    net = layer(kind)
    x = sequence()
    found = fixed_points(traced(net, x), starts=4)
    sizes, zero = list(net.cell.state_sizes), torch.zeros_like(x[:1, :1])
    for point, speed in zip(found["fixed_point"].values, found["log10_fixed_point_speed"].values, strict=True):
        s = torch.from_numpy(point)[None]
        w = net.weights()
        with torch.no_grad():
            new = torch.cat(net.cell.step(w, net.cell.project(w, zero)[0], s.split(sizes, -1), 0), -1)
        moved = 0.5 * float((new - s).square().sum())
        assert moved == pytest.approx(10.0**speed, rel=1e-3, abs=1e-25)
