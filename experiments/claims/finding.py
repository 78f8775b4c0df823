"""A claim, what was measured about it, and what follows."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

Verdict = Literal["supported", "partly supported", "not supported"]


@dataclass(frozen=True)
class Part:
    """One checkable statement of a claim.

    Attributes:
        statement: what must hold, with its threshold; written down before the measurement.
        holds: whether it does.
        evidence: the numbers that decided it.
    """

    statement: str
    holds: bool
    evidence: str


@dataclass(frozen=True)
class Finding:
    """The outcome of one claim.

    Attributes:
        claim: as it is usually told.
        setting: what was run.
        table: the measurement, one row a condition.
        parts: the statements that the claim was broken into.
    """

    claim: str
    setting: str
    table: pd.DataFrame
    parts: tuple[Part, ...]

    @property
    def verdict(self) -> Verdict:
        """Supported where every part holds, not supported where none does."""
        held = [part.holds for part in self.parts]
        return "supported" if all(held) else "partly supported" if any(held) else "not supported"

    def markdown(self) -> str:
        """Claim, measurement and verdict as Markdown."""
        header = " | ".join(self.table.columns)
        rows = [" | ".join(str(value) for value in row) for row in self.table.itertuples(index=False)]
        table = "\n".join(f"| {line} |" for line in [header, " | ".join("---" for _ in self.table.columns), *rows])
        parts = "\n".join(f"* {'yes' if p.holds else 'no'}: {p.statement} ({p.evidence})" for p in self.parts)
        return f"**Claim.** {self.claim}\n\n{self.setting}\n\n{table}\n\n{parts}\n\n**Verdict: {self.verdict}.**\n"


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95% interval (Student's t)."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Estimate":
        """Estimate the mean of independent values, one a seed."""
        x = np.asarray(list(values), dtype=np.float64)
        half = stats.t.ppf(0.975, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x))
        return cls(float(x.mean()), float(x.mean() - half), float(x.mean() + half))

    def __str__(self) -> str:
        return f"{self.mean:.3g} [{self.low:.3g}, {self.high:.3g}]"
