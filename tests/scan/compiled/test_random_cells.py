"""Cells that nobody has written: random equations give what the reference scan gives."""

import random
import warnings
from typing import ClassVar, Literal

import pytest
import torch
import torch.nn.functional as F
from compiled_calls import Both, draw, layer
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.base import Shapes
from rnnlab.scan import compiled
from rnnlab.scan.native.build import has_compiler

UNARY = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": F.relu,
    "half": lambda v: 0.5 * v,
    "square": lambda v: v**2 / (1 + v.abs()),
    "center": lambda v: v - v.mean(-1, keepdim=True),
    "norm": lambda v: F.layer_norm(v, v.shape[-1:]),
    "softmax": lambda v: torch.exp(torch.tanh(v)) / torch.exp(torch.tanh(v)).sum(-1, keepdim=True),
    "batch": lambda v: v - v.mean(0),
}
BINARY = {
    "add": torch.add,
    "multiply": torch.mul,
    "subtract": torch.sub,
    "blend": lambda a, b: torch.sigmoid(a) * b,
    "where": lambda a, b: torch.where(a > 0, a, b),
    "largest": torch.maximum,
}


class RandomCell(Cell):
    """Equations by a recipe: each line makes a value from earlier ones; the last two are the new states."""

    kind: Literal["random"] = "random"
    recipe: tuple[tuple[str, int, int], ...] = ()

    states: ClassVar[tuple[str, ...]] = ("h", "c")

    @property
    def gates(self) -> tuple[str, ...]:
        return ("first", "second")

    @property
    def couples_examples(self) -> bool:
        return any(line[0] == "batch" for line in self.recipe)

    def parameter_shapes(self, input_size: int, bias: bool = True) -> Shapes:
        H = self.hidden_size
        return super().parameter_shapes(input_size, bias) | {"weight_hh2": (H, H), "scale": (H,)}

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        values = [*states, *u.chunk(2, -1), *self.recur(w, states[0], t).chunk(2, -1)]
        for name, i, j in self.recipe:
            a, b = values[i % len(values)], values[j % len(values)]
            if name == "product":
                values.append(F.linear(a, w.weight_hh2))
            elif name == "scale":
                values.append(a * w.scale)
            else:
                values.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
        h, c = (values[2] + values[4] + v for v in values[-2:])
        return torch.tanh(h), c / (1 + c.abs())


NAMES = [*UNARY, *BINARY, "product", "scale"]


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("seed", range(6))
def test_random_equations(seed):
    chance = random.Random(seed)
    lines = [(chance.choice(NAMES), chance.randrange(10), chance.randrange(10)) for _ in range(chance.randint(2, 8))]
    net, x = layer(RandomCell(hidden_size=chance.choice([5, 8, 17]), recipe=tuple(lines)), 3, steps=10), draw(10, 4, 3)
    with warnings.catch_warnings(record=True) as refused:
        warnings.simplefilter("always")
        compiled.supports(net.cell, net.weights(), x, [net.cell.initial_states(4, x)])
    if refused:  # some ways of mixing units and examples are
        assert "sums over" in str(refused[0].message)
        pytest.skip("no compiled step can do this")
    Both(net, x, sizes=[4, 4, 4, 3, 3, 3, 2, 2, 2, 2]).check(1e-9)
