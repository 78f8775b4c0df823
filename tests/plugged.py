"""A cell in a file of the user's."""

CELL = '''
from typing import Literal

from torch import Tensor

from rnnlab.cells.base import Cell, States
from rnnlab.cells.registry import register
from rnnlab.cells.weights import Weights


@register
class Leaky(Cell):
    """h_t = (h_{t-1} + tanh(.)) / 2."""

    kind: Literal["leaky"] = "leaky"

    def step(self, w: Weights, u: Tensor, states: States, t: int) -> States:
        return ((states[0] + w.activate("new", u + self.recur(w, states[0], t))) / 2,)
'''
