"""Starting values are what their names promise."""

import math

import pytest
import torch
from torch import Tensor

from rnnlab.cells.vanilla import VanillaCell
from rnnlab.layers.initialization import Initialization
from rnnlab.layers.recurrent import Recurrent

I, H = 5, 64


def layer(kind: str, init: Initialization, **cell) -> Recurrent:
    generator = torch.Generator().manual_seed(0)
    return Recurrent(kind, I, H, init=init, generator=generator, dtype=torch.float64, steps=200, **cell)


def blocks(net: Recurrent, name: str) -> list[Tensor]:
    return list(net.get_parameter(f"{name}_l0").detach().split(H))


@pytest.mark.parametrize("scale", [1.0, 0.7])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_orthogonal_blocks_scale_every_vector_alike(kind, scale):
    net = layer(kind, Initialization(recurrent="orthogonal", recurrent_scale=scale))
    for w in blocks(net, "weight_hh"):
        torch.testing.assert_close(w @ w.T, scale**2 * torch.eye(H, dtype=w.dtype), rtol=0, atol=1e-12)


def test_identity_and_glorot():
    net = layer("lstm", Initialization(recurrent="identity", input="glorot", bias="zero"))
    for w in blocks(net, "weight_hh"):
        assert torch.equal(w, torch.eye(H, dtype=w.dtype))
    bound = math.sqrt(6 / (I + H))
    for w in blocks(net, "weight_ih"):
        assert w.abs().max() <= bound
        # Variance of U(-a, a) is a²/3; 320 draws estimate it to about 10%.
        assert float(w.var()) == pytest.approx(bound**2 / 3, rel=0.3)
    assert all((b == 0).all() for b in blocks(net, "bias_ih") + blocks(net, "bias_hh"))


def test_gaussian_products_keep_the_variance_of_what_is_multiplied():
    net = layer("vanilla", Initialization(recurrent="gaussian", input="gaussian", recurrent_scale=0.5))
    for name, variance in (("weight_ih", 1 / I), ("weight_hh", 0.25 / H)):
        (w,) = blocks(net, name)
        error = variance * math.sqrt(2 / w.numel())  # standard error of the variance of normal numbers
        assert float(w.var()) == pytest.approx(variance, abs=4 * error)
        assert float(w.abs().max()) > 2.5 * math.sqrt(variance)  # beyond what a uniform one can reach


def test_chrono_spreads_memory_between_one_step_and_the_whole_task():
    net = layer("lstm", Initialization(bias="chrono"))
    i, f, g, o = blocks(net, "bias_ih")
    assert torch.equal(i, -f)
    memory = f.exp()  # U(1, T_max - 1)
    assert memory.min() >= 1 and memory.max() <= 199
    assert float(memory.mean()) == pytest.approx(100, abs=4 * 199 / math.sqrt(12 * H))
    assert not (g.any() or o.any())
    r, z, n = blocks(layer("gru", Initialization(bias="chrono", chrono_max=20)), "bias_ih")
    assert 1 <= z.exp().min() <= z.exp().max() <= 19
    assert not (r.any() or n.any())


def test_forget_bias_is_the_whole_bias_of_the_forget_gate():
    net = layer("lstm", Initialization(), forget_bias=1.5)
    total = net.get_parameter("bias_ih_l0") + net.get_parameter("bias_hh_l0")
    assert (total[H : 2 * H] == 1.5).all()
    assert not (total[:H] == 1.5).any()


@pytest.mark.parametrize("recurrent", ["torch", "orthogonal", "identity", "gaussian"])
def test_vectors_are_uniform_whatever_becomes_of_matrices_and_thresholds_zero(recurrent):
    class Scaled(VanillaCell):
        def parameter_shapes(self, input_size: int, bias: bool = True) -> dict[str, tuple[int, ...]]:
            return super().parameter_shapes(input_size, bias) | {"scale": (self.hidden_size,)}

    cell = Scaled(hidden_size=H, activation="modrelu")
    tensors = {name: torch.full(shape, 9.0) for name, shape in cell.parameter_shapes(I).items()}
    Initialization(recurrent=recurrent).fill(cell, tensors, torch.Generator().manual_seed(0), 20)
    assert 0.5 < tensors["scale"].abs().max() * math.sqrt(H) <= 1 and tensors["scale"].unique().numel() == H
    assert not tensors["modrelu_bias"].any()
    assert tensors["bias_ih"].any() and tensors["weight_hh"].any() and (tensors["weight_hh"] != 9).all()


def test_the_generator_alone_decides():
    first, second = layer("gru", Initialization()), layer("gru", Initialization())
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
