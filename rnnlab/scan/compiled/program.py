"""A cell's step, compiled: what a scan has to know of it, and how it is kept on disk."""

import json
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

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
class Program:
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


class Prologue:
    """Works out the hoisted tensors of a program.

    Args:
        program: the compiled step.
        sizes: of hidden states, inputs, and another state, by unit, and the dtype as `real`.
    """

    def __init__(self, program: Program, sizes: Mapping[str, Any]) -> None:
        self._hoisted = program.hoisted
        self._steps = [(_target(o.target), _bound(o.args, sizes), _bound(o.kwargs, sizes)) for o in program.prologue]

    def __call__(self, tensors: Sequence[Tensor], numbers: Sequence[Tensor]) -> list[Tensor]:
        """The hoisted tensors, from those of the layer and the numbers of the cell, each in turn."""
        results: list[Any] = [*tensors, *numbers]
        for function, args, kwargs in self._steps:
            results.append(function(*_filled(args, results), **{k: _filled(v, results) for k, v in kwargs.items()}))
        return [results[i] for i in self._hoisted]


class _Result(NamedTuple):
    """Stands for an earlier result among arguments."""

    place: int


def _bound(value: Any, sizes: Mapping[str, Any]) -> Any:
    """Arguments with the sizes of a layer."""
    if isinstance(value, dict) and "node" in value:
        return _Result(value["node"])
    if isinstance(value, dict) and "unit" in value:
        size = sizes[value["unit"]] * value["times"]
        return 1 / size if value.get("inverse") else size if value["whole"] else float(size)
    if isinstance(value, dict) and "real" in value:
        return sizes["real"]
    if isinstance(value, dict):
        return {k: _bound(v, sizes) for k, v in value.items()}
    return [_bound(v, sizes) for v in value] if isinstance(value, list) else value


def _filled(value: Any, results: Sequence[Any]) -> Any:
    """Arguments with the results that they stand for."""
    if type(value) is _Result:
        return results[value.place]
    return [_filled(v, results) for v in value] if type(value) is list else value


def _target(name: str) -> Any:
    if name == "getitem":
        return operator.getitem
    space, rest = name.split("::")
    packet, overload = rest.split(":")
    return getattr(getattr(getattr(torch.ops, space), packet.split(".")[0]), overload or "default")


def numbers_of(cell: Cell) -> dict[str, float]:
    """Options of a cell that are continuous, by name: the same code serves all their values."""
    return {name: value for name, value in cell if isinstance(value, float)}


def noisy_states(cell: Cell, training: bool) -> list[int]:
    """Which states draw noise at every step, in this order."""
    return [i for i, name in enumerate(cell.states) if name not in cell.copies] if cell.zoneout and training else []
