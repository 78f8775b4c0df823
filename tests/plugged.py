"""A cell in a file of the user's, and tests that plug something in and leave no trace of it."""

import sys
from collections.abc import Iterator

import pytest

from rnnlab.cells import CELLS
from rnnlab.common import plugins
from rnnlab.config.optimizers import OPTIMIZERS
from rnnlab.probes.base import PROBES
from rnnlab.remedies import REMEDIES
from rnnlab.tasks import TASKS

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


@pytest.fixture
def plugged() -> Iterator[None]:
    """What is plugged in while this is in use is gone afterwards."""
    with pytest.MonkeyPatch.context() as patch:
        for registry in (CELLS, TASKS, OPTIMIZERS, PROBES, REMEDIES):
            len(registry)  # everything of the package is there
            patch.setattr(registry, "_entries", dict(registry._entries))
            patch.setattr(registry, "_definitions", dict(registry._definitions))
        patch.setattr(plugins, "_files", {})
        patch.setattr(plugins, "_sources", {})
        yield
        for file in plugins._files:
            sys.modules.pop(str(file), None)
