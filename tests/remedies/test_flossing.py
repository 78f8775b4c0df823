"""Flossing against closed forms and the probe of the exponents, and what it does to them."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.remedies.flossing import GradientFlossing, lyapunov_exponents
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import SequenceModel
from rnnlab.training.penalties import follow
from rnnlab.training.runs import run

T, H = 20, 6
SETTINGS: dict[str, Any] = {
    "task": {"kind": "adding", "length": T},
    "cell": {"kind": "vanilla", "hidden_size": H},
    "init": {"recurrent": "gaussian"},
    "training": {"steps": 1, "batch_size": 4, "eval_examples": 10, "test_examples": 10},
    "recording": {"points": 0},
    "dtype": "float64",
}


def unrolled(model: SequenceModel, config: Config):
    """The layer of a model on a fresh batch, and the exponents that the probe measures of its first example."""
    batch = config.task.sample(make_generator(0, "flossing"), 4)
    with rnnlab.trace(model) as tape, follow(model) as followed:
        backpropagate(model, config.task, batch)
    model.zero_grad()
    probed = rnnlab.measure(tape.traces, ["lyapunov"])["lyapunov_exponent"].sel(example=0).values.squeeze()
    return followed.layers()[0], probed * math.log(10)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_its_exponents_are_those_of_the_probe(kind):
    config = Config.parse({**SETTINGS, "cell": {"kind": kind, "hidden_size": H}})
    layer, probed = unrolled(SequenceModel(config), config)
    whole = lyapunov_exponents(layer, len(probed), T).detach()
    np.testing.assert_allclose(whole.sort(descending=True).values, probed, rtol=1e-9)
    few = lyapunov_exponents(layer, 3, T).detach()  # no column of Q asks for those after it
    np.testing.assert_allclose(few, whole[:3], rtol=1e-9)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_exponents_and_their_gradient_are_those_of_a_loop_over_single_steps(kind):
    """A second way: the Jacobian of one step after the other, and all that follows, differentiated as it stands."""
    config = Config.parse({**SETTINGS, "cell": {"kind": kind, "hidden_size": H}})
    model, batch = SequenceModel(config), config.task.sample(make_generator(0, "flossing"), 4)
    with follow(model) as followed:
        backpropagate(model, config.task, batch)
    (layer,), n, steps = followed.layers(), 3, T - 5
    sizes = [state.shape[-1] for state in layer.states]
    s, Q = torch.cat([state[0, 0] for state in layer.states]), torch.eye(sum(sizes), n, dtype=torch.float64)
    expected = torch.zeros(n, dtype=torch.float64)
    for t in range(steps):

        def step(s: torch.Tensor, u: torch.Tensor = layer.projected[t, :1]) -> torch.Tensor:
            return torch.cat(layer.step(u, s[None].split(sizes, -1)), -1)[0]

        J = torch.autograd.functional.jacobian(step, s, create_graph=True)
        assert isinstance(J, torch.Tensor)
        Q, R = torch.linalg.qr(J @ Q)
        s, expected = step(s), expected + R.diagonal().abs().log() / steps
    found = lyapunov_exponents(layer, n, steps)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)
    weights, gradients = [*model.recurrent.parameters()], []
    for exponents in (found, expected):
        signed = (exponents * torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)).sum()
        gradients.append(torch.autograd.grad(signed, weights, allow_unused=True, retain_graph=True))
    assert any(gradient is not None for gradient in gradients[1])
    for ours, theirs in zip(*gradients, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)


def test_of_a_scaled_orthogonal_recurrence_the_gradient_is_known():
    """λ_i = ln ρ for all i, so that d Σ λ_i² / dρ = 2 n ln ρ / ρ, along W = ρ Q."""
    cell, rho, n = {"kind": "vanilla", "hidden_size": H, "activation": "identity"}, 0.7, 4
    config = Config.parse({**SETTINGS, "cell": cell, "init": {"recurrent": "orthogonal", "recurrent_scale": rho}})
    model = SequenceModel(config)
    layer, _ = unrolled(model, config)
    GradientFlossing(exponents=n).squared_exponents(layer).backward()
    W = model.recurrent.get_parameter("weight_hh_l0")
    assert W.grad is not None
    assert float((W.grad * W.detach() / rho).sum()) == pytest.approx(2 * n * math.log(rho) / rho, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vanilla", "gru"])
def test_exponents_are_nearer_to_zero_afterwards(kind):
    sizes = {}
    for updates in (0, 20):
        remedies = {"flossing": {"exponents": 4, "updates": updates, "steps": T}} if updates else {}
        config = Config.parse({**SETTINGS, "cell": {"kind": kind, "hidden_size": H}, "remedies": remedies})
        model = run(config).model
        assert isinstance(model, SequenceModel)
        _, probed = unrolled(model.train(), config)
        sizes[updates] = float(np.square(probed[:4]).sum())
    assert sizes[20] < 0.3 * sizes[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"remedies": {"flossing": {"exponents": 7}}}, "are more than the 6 units"),
     ({"remedies": {"flossing": {"exponents": 2}}, "cell": {"kind": "gru", "hidden_size": 6, "zoneout": 0.1}},
      "takes steps again")],
)  # fmt: skip
def test_what_it_cannot_do_is_named(changes, message):
    with pytest.raises(UserError, match=message):
        Config.parse({**SETTINGS, **changes})
