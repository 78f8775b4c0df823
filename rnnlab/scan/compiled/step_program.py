"""A cell's step, compiled: what a scan has to know of it, and how it is kept on disk."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Self

from rnnlab.cells import Cell

UNITS = ("H", "I", "P")
"""Units of width: hidden, inputs, and those of another state."""
SlotRow = tuple[str, str, int, int, int]
"""Label, role, unit, blocks and state of a slot."""


@dataclass(frozen=True)
class Operation:
    """One operation of the prologue: its name, and arguments in which `{"node": i}` stands for an earlier result."""

    target: str
    args: list[Any]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """One direction, as calls.h describes it.

    Attributes:
        slots: of the step, in turn.
        products: out, base, first term, number of terms.
        terms: slot, block, blocks, matrix, transposed.
        pairs: left slot, block, blocks, operand, flip, weight.
    """

    slots: list[SlotRow]
    products: list[tuple[int, int, int, int]]
    terms: list[tuple[int, int, int, int, int]]
    pairs: list[tuple[int, int, int, int, int, int]]


@dataclass(frozen=True)
class StepProgram:
    """All that is needed to run a cell without tracing it again.

    Attributes:
        source: C++ of the step in both directions.
        prologue: from the layer's tensors and the cell's numbers to the hoisted tensors.
        hoisted: which results of the prologue these are.
        matrices: which hoisted tensors are multiplied with.
        forward: the way forward.
        backward: the way back.
        coupled: whether examples are coupled.
        statistics: names of the tensors with a row for every step that the step reads.
        running: of what is standardised over the batch: running mean and variance, by their place in `statistics`,
            the slots of those of the batch, and the weight of the newest batch.
        noise: states that draw noise at every step.
    """

    source: str
    prologue: list[Operation]
    hoisted: list[int]
    matrices: list[int]
    forward: Sweep
    backward: Sweep
    coupled: bool
    statistics: list[str]
    running: list[tuple[int, int, str, str, float]]
    noise: list[int]

    def dump(self) -> str:
        """As text."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Self:
        """From text.

        Raises:
            ValueError: if it is no program.
        """
        fields = json.loads(text)
        fields["prologue"] = [Operation(**each) for each in fields["prologue"]]
        for way in ("forward", "backward"):
            fields[way] = Sweep(**{name: [tuple(row) for row in rows] for name, rows in fields[way].items()})
        fields["running"] = [tuple(row) for row in fields["running"]]
        return cls(**fields)


def numbers_of(cell: Cell) -> dict[str, float]:
    """Continuous options that steps read, by name: the same code serves all their values.

    Where weights start may be a number in one cell and left out in the next, and both run by one program.
    """
    return {name: value for name, value in cell if isinstance(value, float) and name not in cell.starting}


def noisy_states(cell: Cell, training: bool) -> list[int]:
    """Which states draw noise at every step, in this order."""
    return [i for i, name in enumerate(cell.states) if name not in cell.copies] if cell.zoneout and training else []
