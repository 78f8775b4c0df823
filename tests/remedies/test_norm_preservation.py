"""Pascanu's Ω against the formula written out, and what it is zero for."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.remedies.norm_preservation import NormPreservation
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import SequenceModel

T, B, H = 6, 4, 5
SETTINGS = {
    "task": {"kind": "adding", "length": T},
    "cell": {"kind": "vanilla", "hidden_size": H},
    "remedies": {"norm_preservation": {"weight": 3.0}},
    "dtype": "float64",
}


def added(config: Config) -> dict[str, torch.Tensor]:
    """What the penalty adds to the gradient of every weight of the recurrent layer."""
    model, batch = SequenceModel(config), config.task.sample(torch.Generator().manual_seed(0), B)
    found = []
    for remedies in ((), config.remedies):
        model.zero_grad()
        backpropagate(model, config.task, batch, remedies)
        found.append({name: p.grad.clone() for name, p in model.recurrent.named_parameters() if p.grad is not None})
    return {name: found[1][name] - found[0][name] for name in found[0]}


@pytest.mark.parametrize("steps", [2, T, 40])  # the reference takes the shortest, kernels the others
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "cell",
    [
        {"kind": "vanilla"},
        {"kind": "vanilla", "activation": "softsign", "residual": 0.3},
        {"kind": "irnn", "scale": 0.9},
    ],
    ids=["tanh", "residual", "irnn"],
)
def test_it_is_the_formula_through_the_recurrent_matrix_alone(cell: dict, dtype: str, steps: int):
    data = {"cell": {**cell, "hidden_size": H}, "task": {"kind": "adding", "length": steps}, "dtype": dtype}
    config = Config.parse({**SETTINGS, **data})
    model, batch = SequenceModel(config), config.task.sample(torch.Generator().manual_seed(0), B)
    W, U, *biases = model.double().recurrent.parameters()
    phi = {"irnn": F.relu, "vanilla": F.softsign if "residual" in cell else torch.tanh}[cell["kind"]]
    keep, alpha = (1.0, cell["residual"]) if "residual" in cell else (0.0, 1.0)
    states, before = [torch.zeros(B, H, dtype=torch.float64, requires_grad=True)], []
    for t in range(steps):
        before.append(batch.inputs[t].double() @ W.T + states[-1] @ U.T + sum(biases))
        states.append(keep * states[-1] + alpha * phi(before[-1]))
        states[-1].retain_grad()
    config.task.losses(model.readout(states[-1])[None], batch.targets.double()).mean().backward()
    g = torch.stack([state.grad for state in states[1:] if state.grad is not None])
    z = torch.stack(before).detach().requires_grad_()
    (slope,) = torch.autograd.grad(phi(z).sum(), z)  # given, as the authors' code has it
    pulled = keep * g + alpha * (g * slope) @ U
    norm = g.square().sum(-1)
    ratio = (pulled.square().sum(-1) / norm)[norm >= 1e-20]
    (expected,) = torch.autograd.grad(3.0 * (ratio - 1).square().mean(), U)
    found = added(config)
    rtol, atol = (1e-10, 1e-13) if dtype == "float64" else (1e-4, 1e-5)
    np.testing.assert_allclose(found["weight_hh_l0"].numpy(), expected.numpy(), rtol=rtol, atol=atol)
    assert all(not change.any() for name, change in found.items() if name != "weight_hh_l0")


def test_it_asks_nothing_of_a_recurrence_that_keeps_norms():
    cell = {"kind": "vanilla", "hidden_size": H, "activation": "identity"}
    keeping = Config.parse({**SETTINGS, "cell": cell, "init": {"recurrent": "orthogonal"}})
    assert added(keeping)["weight_hh_l0"].abs().max() < 1e-6  # Q starts in float32
    # W = ρQ has Ω = (ρ² - 1)², whose gradient in ρ is 4 ρ (ρ² - 1), and in W that times Q / H along Q.
    rho = 0.8
    found = added(Config.parse({**SETTINGS, "cell": cell, "init": {"recurrent": "orthogonal", "recurrent_scale": rho}}))
    Q = SequenceModel(keeping).recurrent.get_parameter("weight_hh_l0").detach()
    assert float((found["weight_hh_l0"] * Q).sum()) == pytest.approx(3.0 * 4 * rho * (rho**2 - 1), rel=1e-5)


def test_gradients_too_small_to_compare_are_left_out():
    class Tiny:
        projected = torch.zeros(1, 2, H, dtype=torch.float64)
        states = (torch.zeros(1, 2, H, dtype=torch.float64),)
        gradients = (torch.tensor([1e-11, 1.0], dtype=torch.float64)[None, :, None].expand(1, 2, H),)
        W = torch.nn.Parameter(0.5 * torch.eye(H, dtype=torch.float64))

        def recur(self, states):
            return states[0] @ self.W.T

        def step(self, projected, states):
            return (projected + self.recur(states),)

    value = NormPreservation(weight=1.0).penalty(Tiny(), None)
    assert float(value.detach()) == pytest.approx((0.25 - 1) ** 2)  # the mean over one example, not two


@pytest.mark.parametrize("cell", [{"kind": "lstm"}, {"kind": "vanilla", "norm": "layer"}])
def test_cells_that_it_is_not_for_are_named(cell):
    with pytest.raises(UserError, match=r"norm_preservation is for cells .* choose vanilla or irnn"):
        Config.parse({**SETTINGS, "cell": cell})
