"""What a step reads of its weights: worked out once a call, for one layer or for stacked members."""

import ctypes
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from rnnlab.scan.apart import apart, together
from rnnlab.scan.compiled.step_program import StepProgram

aten = torch.ops.aten


class _Result(NamedTuple):
    """Stands for an earlier result among arguments."""

    place: int


class Stacked(NamedTuple):
    """One tensor for each member, (P, ...)."""

    each: Tensor


class Prologue:
    """Works out the hoisted tensors of a program.

    Args:
        program: the compiled step.
        weights: how many tensors the layer has.
        sizes: of hidden states, inputs, and another state, by unit, and the dtype as `real`.
        numbers: (K,) continuous options of the cell, or of each member, in turn.
    """

    def __init__(
        self, program: StepProgram, weights: int, sizes: Mapping[str, Any], numbers: Sequence[Sequence[float]]
    ) -> None:
        self._hoisted, self._weights = program.hoisted, weights
        steps = [(_target(o.target), _bound(o.args, sizes), _bound(o.kwargs, sizes)) for o in program.prologue]
        first = weights + len(numbers[0])
        self._steps = [(first + i, *step) for i, step in enumerate(steps)]
        each = [self._fixed_of(own) for own in numbers]
        self._steps = [step for step in self._steps if step[0] not in each[0]]
        self._fixed = {place: _joined([fixed[place] for fixed in each]) for place in each[0]}
        self._count = len(numbers)
        self._fast = [(place, function, _prepared(args), kwargs) for place, function, args, kwargs in self._steps]
        scalars = [_scalar(fixed.get(i)) for fixed in each for i in self._hoisted]
        self.scalars = (ctypes.c_double * max(1, len(scalars)))(*scalars)
        """Numbers among what is hoisted, of one member after the other; zero for the rest."""

    def _fixed_of(self, numbers: Sequence[float]) -> dict[int, Any]:
        """What follows from numbers alone, once for all calls."""
        fixed: dict[int, Any] = {
            self._weights + i: torch.tensor(number, dtype=torch.float64) for i, number in enumerate(numbers)
        }
        for place, function, args, kwargs in self._steps:
            if all(i in fixed for i in _places([args, kwargs])):
                fixed[place] = function(*_filled(args, fixed), **_filled(kwargs, fixed))
        return fixed

    def __call__(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """The hoisted tensors of one layer, from its own."""
        results = self._fixed | dict(enumerate(weights))
        for place, function, (args, places), kwargs in self._fast:
            own = _filled(args, results) if places is None else args.copy()
            for i, source in places or ():
                own[i] = results[source]
            results[place] = function(*own, **(_filled(kwargs, results) if kwargs else {}))
        return [results[i] for i in self._hoisted]

    def of_members(self, weights: Sequence[Tensor]) -> list[Tensor]:
        """Those of stacked members, (P, ...) each; numbers stay without a dimension."""
        results = self._fixed | {i: Stacked(t) for i, t in enumerate(weights)}
        for place, function, args, kwargs in self._steps:
            args, kwargs = _filled(args, results), _filled(kwargs, results)
            results[place] = _at_once(function, args, kwargs) or self._one_by_one(function, args, kwargs)
        found = [results[i] for i in self._hoisted]
        return [t.each if isinstance(t, Stacked) else t.expand(self._count, *t.shape) if t.dim() else t for t in found]

    def _one_by_one(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """An operation on each member, in memory of its own: what it does to one does not depend on the others."""
        parts = _taken_apart([args, kwargs])
        each = [function(*own, **named) for own, named in (_of_member(parts, p) for p in range(self._count))]
        if isinstance(each[0], Tensor):
            return Stacked(together(each))
        return [Stacked(together(column)) for column in zip(*each, strict=True)]


# Operations that give every member the same to the bit when all are done at once


def _at_once(function: Any, args: Sequence[Any], kwargs: Any) -> Any:
    """An operation on all members together, if it only moves numbers, or adds or multiplies one by one."""
    if function is operator.getitem:
        return function(*args)
    if kwargs or not any(isinstance(a, Stacked) for a in args):
        return None
    if function is aten.permute.default:
        (a,), dims = args[0], args[1]
        return Stacked(a.permute(0, *(d % (a.dim() - 1) + 1 for d in dims)))
    if function is aten.split_with_sizes.default:
        (a,), sizes, *dim = args
        return [Stacked(t) for t in a.split_with_sizes(sizes, *(d % (a.dim() - 1) + 1 for d in dim or [0]))]
    if function in (aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor) and len(args) == 2:
        values = [a.each if isinstance(a, Stacked) else a for a in args]
        tensors = [t for t in values if isinstance(t, Tensor) and t.dim() > 1]
        if tensors and all(t.shape == tensors[0].shape for t in tensors):
            return Stacked(function(*(_beside(v, tensors[0]) for v in values)))
    return None


def _beside(value: Any, t: Tensor) -> Any:
    """A number of each member as wide as (P, ...)."""
    if isinstance(value, Tensor) and value.dim() == 1:
        return value.to(t.dtype).view(-1, *[1] * (t.dim() - 1))
    return value


def _joined(each: Sequence[Any]) -> Any:
    """What follows from the numbers of each member: one tensor if it is the same for all."""
    first = each[0]
    if not isinstance(first, Tensor):
        return [_joined(column) for column in zip(*each, strict=True)]
    return first if all(torch.equal(t, first) for t in each) else Stacked(torch.stack(list(each)))


def _scalar(t: Any) -> float:
    return float(t) if isinstance(t, Tensor) and t.dim() == 0 else 0.0


def _taken_apart(value: Any) -> Any:
    if isinstance(value, Stacked):
        return _Apart(apart(value.each))
    if isinstance(value, dict):
        return {k: _taken_apart(v) for k, v in value.items()}
    return [_taken_apart(v) for v in value] if isinstance(value, list) else value


class _Apart(NamedTuple):
    """One tensor for each member, in a list."""

    each: list[Tensor]


def _of_member(value: Any, p: int) -> Any:
    if isinstance(value, _Apart):
        return value.each[p]
    if isinstance(value, dict):
        return {k: _of_member(v, p) for k, v in value.items()}
    return [_of_member(v, p) for v in value] if isinstance(value, list) else value


# Arguments


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


def _prepared(args: list[Any]) -> tuple[list[Any], list[tuple[int, int]] | None]:
    """Arguments, and which of them are results; none where results lie deeper."""
    places = [(i, a.place) for i, a in enumerate(args) if type(a) is _Result]
    return args, places if len(places) == len(_places(args)) else None


def _places(value: Any) -> list[int]:
    """The results that arguments stand for."""
    if type(value) is _Result:
        return [value.place]
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [place for v in inside for place in _places(v)]


def _filled(value: Any, results: Mapping[int, Any]) -> Any:
    """Arguments with the results that they stand for."""
    if type(value) is _Result:
        return results[value.place]
    if type(value) is dict:
        return {k: _filled(v, results) for k, v in value.items()}
    return [_filled(v, results) for v in value] if type(value) is list else value


def _target(name: str) -> Any:
    if name == "getitem":
        return operator.getitem
    space, rest = name.split("::")
    packet, overload = rest.split(":")
    return getattr(getattr(getattr(torch.ops, space), packet.split(".")[0]), overload or "default")
