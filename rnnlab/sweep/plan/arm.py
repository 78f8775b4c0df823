"""An arm: one value of the factor under study."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from rnnlab.sweep.plan.space import Dimension


class Arm(BaseModel):
    """What sets an arm apart: dotted overrides of the base, and hyperparameters that are searched in it alone.

    Example:
        >>> arm = Arm.model_validate({"cell.kind": "lstm", "search": {"cell.forget_bias": {"low": 0, "high": 5}}})
        >>> arm.overrides, list(arm.search)
        ({'cell.kind': 'lstm'}, ['cell.forget_bias'])
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    search: dict[str, Dimension] = Field(default_factory=dict)
    """Hyperparameters of its own, by dotted name, besides those that every arm searches."""

    @property
    def overrides(self) -> dict[str, Any]:
        """Every field but `search`, by dotted name."""
        return self.model_extra or {}

    @property
    def is_plain(self) -> bool:
        """Whether it is the base as it is."""
        return not self.overrides and not self.search
