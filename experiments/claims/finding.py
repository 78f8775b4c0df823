"""A claim, what was measured about it, and what follows."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd

from rnnlab.common.text import markdown_table

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

    def summary(self) -> list[str]:
        """Claim, verdict, and the statements that do not hold."""
        return [self.claim, self.verdict, "; ".join(part.statement for part in self.parts if not part.holds) or "–"]

    def markdown(self) -> str:
        """Claim, measurement and verdict as Markdown."""
        rows = [[str(value) for value in row] for row in self.table.itertuples(index=False)]
        table = markdown_table([list(self.table.columns), *rows])
        parts = "\n".join(f"* {'yes' if p.holds else 'no'}: {p.statement} ({p.evidence})" for p in self.parts)
        return f"**Claim.** {self.claim}\n\n{self.setting}\n\n{table}\n\n{parts}\n\n**Verdict: {self.verdict}.**\n"
