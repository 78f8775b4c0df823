"""Every cell follows its equations, written out once more the slow way."""

import math

import pytest
import torch
from torch import Tensor

from rnnlab.cells import CELLS, make_cell
from rnnlab.cells.activations import ACTIVATIONS
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent

T, B, I, H = 5, 4, 3, 6


def scalar(name: str, z: float) -> float:
    """Activations from their definitions, without torch."""
    return {
        "identity": lambda: z,
        "tanh": lambda: math.tanh(z),
        "sigmoid": lambda: 1 / (1 + math.exp(-z)),
        "relu": lambda: max(z, 0.0),
        "leaky_relu": lambda: z if z > 0 else 0.01 * z,
        "elu": lambda: z if z > 0 else math.exp(z) - 1,
        "softsign": lambda: z / (1 + abs(z)),
        "softplus": lambda: math.log1p(math.exp(z)),
        "gelu": lambda: z * 0.5 * (1 + math.erf(z / math.sqrt(2))),
        "hard_tanh": lambda: min(1.0, max(-1.0, z)),
        "erf": lambda: math.erf(z),
    }[name]()


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_match_their_definitions(name):
    z = torch.linspace(-3, 3, 25, dtype=torch.float64)
    expected = torch.tensor([scalar(name, float(v)) for v in z], dtype=torch.float64)
    torch.testing.assert_close(ACTIVATIONS[name](z), expected, rtol=1e-12, atol=1e-12)


def test_modrelu_keeps_the_sign_and_shifts_the_modulus():
    net = Recurrent("vanilla", I, H, activation="modrelu", dtype=torch.float64)
    bias = torch.linspace(-1, 1, H, dtype=torch.float64)
    with torch.no_grad():
        net.get_parameter("modrelu_bias_l0").copy_(bias)
    x = torch.randn(1, B, I, dtype=torch.float64)
    z = x[0] @ net.get_parameter("weight_ih_l0").T + net.get_parameter("bias_ih_l0") + net.get_parameter("bias_hh_l0")
    shifted = zip(z.flatten().tolist(), bias.tolist() * B, strict=True)
    expected = [math.copysign(max(0.0, abs(v) + b), v) for v, b in shifted]
    torch.testing.assert_close(net(x)[0].flatten(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("alpha", [0.1, 1.0])
def test_residual_through_time_adds_the_old_state(alpha):
    net = Recurrent("vanilla", I, H, activation="tanh", residual=alpha, dtype=torch.float64)
    w = {name.removesuffix("_l0"): value for name, value in net.state_dict().items()}
    x, h = torch.randn(T, B, I, dtype=torch.float64), torch.zeros(B, H, dtype=torch.float64)
    outputs = []
    for x_t in x:
        z = x_t @ w["weight_ih"].T + w["bias_ih"] + h @ w["weight_hh"].T + w["bias_hh"]
        h = h + alpha * torch.tanh(z)
        outputs.append(h)
    torch.testing.assert_close(net(x)[0], torch.stack(outputs), rtol=0, atol=1e-14)


def test_lstm_without_forget_gate_is_one_whose_forget_gate_is_always_open():
    plain = Recurrent("lstm", I, H, forget_gate=False, dtype=torch.float64)
    gated = Recurrent("lstm", I, H, dtype=torch.float64)

    def with_forget_rows(value: Tensor, fill: float) -> Tensor:
        i, g, o = value.chunk(3)
        return torch.cat([i, torch.full_like(i, fill), g, o])

    gated.load_state_dict(
        {
            name: with_forget_rows(value, 1e3 if name == "bias_ih_l0" else 0.0)
            for name, value in plain.state_dict().items()
        }
    )
    x = torch.randn(T, B, I, dtype=torch.float64)
    torch.testing.assert_close(plain(x), gated(x), rtol=0, atol=1e-14)


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_every_cell_keeps_examples_apart_and_looks_at_the_past_alone(kind):
    net = Recurrent(kind, I, H, dtype=torch.float64)
    x = torch.randn(T, B, I, dtype=torch.float64)
    changed = x.clone()
    changed[2, 1] += 1.0
    before, after = net(x)[0], net(changed)[0]
    assert torch.equal(before[:2], after[:2])
    assert torch.equal(before[:, [0, 2, 3]], after[:, [0, 2, 3]])
    assert (before[2:, 1] != after[2:, 1]).any(-1).all()


def test_unknown_names_are_refused_with_the_nearest():
    with pytest.raises(UserError, match="did you mean 'lstm'"):
        make_cell("lsmt")
    with pytest.raises(UserError, match="did you mean 'forget_bias'"):
        make_cell("lstm", forgetbias=1.0)
    with pytest.raises(UserError, match=r"activation = 'thanh'.*'tanh'"):
        make_cell("vanilla", activation="thanh")
