"""What must hold for a result to count as reproduced: a law, a level, an exponent, an ordering."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from rnnlab.common.text import number
from rnnlab.statistics.intervals import Interval
from rnnlab.statistics.verdicts import Decision, decide_exact, decide_level, decide_ordering

Kind = Literal["exact", "level", "exponent", "ordering"]
Values = Mapping[str, float | Sequence[float]]
"""What one run of one arm gives by name: numbers, and sequences for the figure."""
Findings = Mapping[str, Sequence[Values]]
"""By arm, one for each seed."""


@dataclass(frozen=True)
class Criterion(ABC):
    """One statement that decides.

    Attributes:
        quantity: which of the values.
        published: what the source says, in its words and numbers.
        why: where the tolerance comes from; it was fixed before the seeds that decide were run.
    """

    kind: ClassVar[Kind]

    quantity: str
    published: str
    why: str

    @property
    @abstractmethod
    def statement(self) -> str:
        """What must hold, with its tolerance."""

    @abstractmethod
    def decide(self, found: Findings) -> Decision:
        """Hold it against what was found."""

    def _of(self, found: Findings, arm: str) -> list[float]:
        return [float(values[self.quantity]) for values in found.get(arm, ())]  # type: ignore[arg-type]


@dataclass(frozen=True)
class Exact(Criterion):
    """A law: every seed gives the expected number, to rounding."""

    kind: ClassVar[Kind] = "exact"
    arm: str
    expected: float
    tolerance: float

    @property
    def statement(self) -> str:
        return f"{self.arm}: {self.quantity} is {number(self.expected, 5)} to {number(self.tolerance, 2)}"

    def decide(self, found: Findings) -> Decision:
        return decide_exact(self._of(found, self.arm), self.expected, self.tolerance)


@dataclass(frozen=True)
class Level(Criterion):
    """A number: the mean over seeds lies between two bounds, by two one-sided tests."""

    kind: ClassVar[Kind] = "level"
    arm: str
    low: float
    high: float

    @property
    def statement(self) -> str:
        return f"{self.arm}: {self.quantity} is between {number(self.low)} and {number(self.high)}"

    def decide(self, found: Findings) -> Decision:
        return decide_level(self._of(found, self.arm), self.low, self.high)


@dataclass(frozen=True)
class Exponent(Level):
    """A slope: as a level, of what a line fitted to each run gives."""

    kind: ClassVar[Kind] = "exponent"


@dataclass(frozen=True)
class Ordering(Criterion):
    """One arm is smaller than another, or an arm lies below or above a number, by a permutation test over seeds."""

    kind: ClassVar[Kind] = "ordering"
    ahead: str | float
    """What is claimed to be smaller."""
    behind: str | float
    """What is claimed to be larger."""
    margin: float = 0.0
    """By how much, at least; where it is negative, by how much what is ahead may be the larger one."""

    @property
    def statement(self) -> str:
        if isinstance(self.behind, str) and isinstance(self.ahead, str):
            if self.margin < 0:
                gap = f"by less than {number(-self.margin)}"
                return f"{self.quantity} of {self.ahead} is not above that of {self.behind}, or {gap}"
            gap = f" by {number(self.margin)} at least" if self.margin else ""
            return f"{self.quantity} of {self.ahead} is below that of {self.behind}{gap}"
        if isinstance(self.ahead, str):
            return f"{self.ahead}: {self.quantity} is below {number(float(self.behind))}"
        return f"{self.behind}: {self.quantity} is above {number(self.ahead)}"

    def decide(self, found: Findings) -> Decision:
        """Measured is the difference of two arms, and the value itself where one is held against a number."""
        if isinstance(self.ahead, str) and isinstance(self.behind, str):
            return decide_ordering(self._of(found, self.ahead), self._of(found, self.behind), self.margin)
        if isinstance(self.ahead, str):
            bound = float(self.behind)
            decision = decide_ordering(self._of(found, self.ahead), bound)
            value, low, high = decision.measured
            return decision._replace(measured=Interval(bound - value, bound - high, bound - low))
        decision = decide_ordering([-value for value in self._of(found, str(self.behind))], -self.ahead)
        return decision._replace(measured=Interval(*(self.ahead + bound for bound in decision.measured)))
