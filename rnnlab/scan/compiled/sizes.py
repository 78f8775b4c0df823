"""The sizes of a traced step, and how they are found again in what it does."""

from dataclasses import dataclass
from typing import Any

from rnnlab.scan.compiled.errors import Inexpressible

MOST = 32
"""Blocks of units that a width is looked for in."""


@dataclass(frozen=True)
class Sizes:
    """Sizes that stand for those of any call: primes, so that no other number is taken for one of them.

    Attributes:
        rows: examples.
        widths: hidden units, inputs, and units of another state, by unit.
    """

    rows: int
    widths: dict[str, int]

    def split(self, width: int) -> tuple[str, int]:
        """The unit that a width is a multiple of, and how many of it.

        Raises:
            Inexpressible: if there is none.
        """
        for unit, size in self.widths.items():
            if width % size == 0 and width // size <= MOST:
                return unit, width // size
        raise Inexpressible(f"a width that is no multiple of the layer's ({width} where they are {self.widths})")

    def literal(self, value: float) -> str:
        """C++ of a constant; one of these sizes is read as that of the call."""
        for name, size in (("B", self.rows), *((f"f->width[{i}]", s) for i, s in enumerate(self.widths.values()))):
            for count in range(1, MOST + 1):
                factor = name if count == 1 else f"({count} * {name})"
                if value == count * size:
                    return f"T({factor})"
                if value == 1 / (count * size):
                    return f"(T(1) / T({factor}))"
        return f"T({float(value)!r})"

    def symbolic(self, value: float) -> Any:
        """A number among what follows from weights alone, in which one of these sizes stands for that of the layer."""
        for unit, size in self.widths.items():
            if value >= size and value % size == 0 and value // size <= MOST:
                return {"unit": unit, "times": int(value // size), "whole": isinstance(value, int)}
            if 0 < value < 1 and any(value == 1 / (size * k) for k in range(1, MOST + 1)):
                return {"unit": unit, "times": round(1 / value / size), "inverse": True}
        return value


TRACED = (Sizes(211, {"H": 263, "I": 157, "P": 109}), Sizes(223, {"H": 269, "I": 163, "P": 113}))
"""A step is traced at both: what differs but in these sizes depends on them in a way that would not be found."""
