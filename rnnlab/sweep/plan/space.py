"""The search space: which values each nuisance hyperparameter may take, and which points are tried."""

import itertools
import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from rnnlab.common.options import Options

if TYPE_CHECKING:
    import optuna

INSIDE = 0.381966
"""Share of a range at which one value of it is tried; at a simple fraction it might be whole by chance."""
Point = dict[str, Any]
"""One value for every dimension, by dotted field name."""

_EXPONENT_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?[eE][+-]?\d+")


class Dimension(Options):
    """A range (`low`, `high`) or a list of `choices`.

    Example:
        >>> Dimension.parse({"low": 1e-4, "high": 1e-1, "log": True}).extremes()
        [0.0001, 0.1]
    """

    low: float | None = None
    high: float | None = None
    log: bool = False
    """Spread evenly over the logarithm."""
    integer: bool = False
    points: int | None = Field(default=None, ge=2)
    """How many values of the range a grid tries."""
    choices: list[bool | int | float | str | None] | None = Field(default=None, min_length=1)

    @field_validator("choices")
    @classmethod
    def _read_exponents(cls, choices: list[Any] | None) -> list[Any] | None:
        # YAML 1.1 reads 1e-3, which has no point, as text.
        def number(value: Any) -> Any:
            return float(value) if isinstance(value, str) and _EXPONENT_NUMBER.fullmatch(value) else value

        return None if choices is None else [number(value) for value in choices]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.choices is not None:
            if {"low", "high", "log", "integer", "points"} & self.model_fields_set:
                raise ValueError("'choices' stands alone: drop low, high, log, integer and points, or drop choices")
            if len(set(map(repr, self.choices))) < len(self.choices):
                raise ValueError(f"choices = {self.choices} names a value twice: drop the repetition")
            return self
        if self.low is None or self.high is None:
            raise ValueError("give either low and high, or choices")
        if self.low >= self.high:
            raise ValueError(f"low = {self.low:g} must be smaller than high = {self.high:g}: swap or change them")
        if self.log and self.low <= 0:
            raise ValueError(f"low = {self.low:g} must be above 0 where log = true: raise it or drop log")
        if self.integer and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"low = {self.low:g} and high = {self.high:g} must be whole where integer = true")
        return self

    def extremes(self) -> list[Any]:
        """Both ends of a range, or every choice: what has to be valid for all to be valid."""
        if self.choices is not None:
            return list(self.choices)
        return [self._exact(value) for value in self._ends()]

    def probes(self) -> list[Any]:
        """Values that stand for all: every choice, every value of a grid, or both ends of a range and one between."""
        if self.choices is not None or self.points is not None:
            return self.grid()
        return list(dict.fromkeys([*self.extremes(), self.at(INSIDE)]))

    def grid(self) -> list[Any]:
        """Every value a grid tries; a range needs `points`."""
        if self.choices is not None:
            return list(self.choices)
        low, high = self._ends()
        spread = np.geomspace if self.log else np.linspace
        return list(dict.fromkeys(self._exact(float(value)) for value in spread(low, high, self.points or 2)))

    def every(self) -> list[Any]:
        """Every choice, or every number of a whole-number range; a continuous range has no such list."""
        if self.choices is not None:
            return list(self.choices)
        low, high = self._ends()
        return list(range(int(low), int(high) + 1))

    def draw(self, generator: np.random.Generator) -> Any:
        """One value at random, uniform over the range, its logarithm, or the choices."""
        if self.choices is not None:
            return self.choices[int(generator.integers(len(self.choices)))]
        return self.at(float(generator.uniform()))

    def at(self, share: float) -> Any:
        """The value that lies at a share (0 to 1) of the range, of its logarithm, or of the list of choices."""
        if self.choices is not None:
            return self.choices[min(int(share * len(self.choices)), len(self.choices) - 1)]
        low, high = self._scale()
        value = low + (high - low) * share
        return self._exact(math.exp(value) if self.log else value)

    def share(self, value: float) -> float:
        """Where in a range a value lies: the inverse of `at`, but for rounding."""
        low, high = self._scale()
        return ((math.log(value) if self.log else value) - low) / (high - low)

    def suggest(self, trial: "optuna.Trial", name: str) -> Any:
        """Let the trial's sampler propose a value, unless one is fixed for it; either way the trial notes it."""
        if self.choices is not None:
            return trial.suggest_categorical(name, self.choices)
        low, high = self._ends()
        if self.integer:
            return trial.suggest_int(name, int(low), int(high), log=self.log)
        return trial.suggest_float(name, low, high, log=self.log)

    def _scale(self) -> tuple[float, float]:
        """Both ends as values are spread: by their logarithm, and whole numbers half a step beyond either end."""
        low, high = self._ends()
        if self.integer:
            # Half a step wider, so that both ends are as likely as the values between them.
            low, high = low - 0.5, high + 0.5
        return (math.log(low), math.log(high)) if self.log else (low, high)

    def _ends(self) -> tuple[float, float]:
        assert self.low is not None and self.high is not None, "validation leaves no range without ends"
        return self.low, self.high

    def _exact(self, value: float) -> Any:
        """Back inside the range where rounding left it, and whole where the field is."""
        low, high = self._ends()
        inside = min(max(value, low), high)
        return round(inside) if self.integer else inside


Space = Mapping[str, Dimension]


def random_point(space: Space, seed: int) -> Point:
    """The random point that belongs to a seed."""
    generator = np.random.default_rng(seed)
    return {name: dimension.draw(generator) for name, dimension in space.items()}


def grid_points(space: Space) -> list[Point]:
    """Every cell of the grid, once."""
    return _combinations({name: dimension.grid() for name, dimension in space.items()})


def every_point(space: Space) -> list[Point]:
    """Every combination of choices and whole numbers, once."""
    return _combinations({name: dimension.every() for name, dimension in space.items()})


def sobol_points(space: Space, count: int, seed: int) -> list[Point]:
    """The first points of a scrambled Sobol sequence, which fill the space more evenly than random ones.

    More points begin with the same ones.

    Args:
        space: the search space.
        count: how many points.
        seed: names the scrambling.

    Reference: Owen 1998, "Scrambling Sobol' and Niederreiter-Xing points".
    """
    from scipy.stats import qmc  # late: takes most of a second to import

    # A power of two, for which the sequence is balanced, of which the first ones are taken.
    shares = qmc.Sobol(len(space), rng=np.random.default_rng(seed)).random_base2(max(0, count - 1).bit_length())
    return [
        {name: dimension.at(float(share)) for (name, dimension), share in zip(space.items(), row, strict=True)}
        for row in shares[:count]
    ]


def suggest(space: Space, trial: "optuna.Trial") -> Point:
    """The point of a claimed trial: what was fixed when it was planned, or what its sampler proposes now."""
    return {name: dimension.suggest(trial, name) for name, dimension in space.items()}


def _combinations(values: Mapping[str, list[Any]]) -> list[Point]:
    return [dict(zip(values, cell, strict=True)) for cell in itertools.product(*values.values())]
