"""Cells that nobody has written: random equations give what the reference scan gives."""

import warnings
from typing import ClassVar, Literal

import pytest
import torch
import torch.nn.functional as F
from compiled_calls import Both, draw, layer
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st
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


LINES = st.tuples(st.sampled_from([*UNARY, *BINARY, "product", "scale"]), st.integers(0, 9), st.integers(0, 9))


@pytest.mark.slow
@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@settings(max_examples=6, deadline=None, phases=[Phase.generate], derandomize=True)
@given(recipe=st.lists(LINES, min_size=2, max_size=8), width=st.sampled_from([5, 8, 17]))
def test_random_equations(recipe, width):
    net = layer(RandomCell(hidden_size=width, recipe=tuple(recipe)), 3, steps=10)
    x = draw(10, 4, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some ways of mixing units and examples are refused
        assume(compiled.supports(net.cell, net.weights(), x, [net.cell.initial_states(4, x)]))
    Both(net, x, sizes=[4, 4, 4, 3, 3, 3, 2, 2, 2, 2]).check(1e-9)
