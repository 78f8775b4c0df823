"""One arm on one task of a sweep."""

from dataclasses import dataclass
from typing import Any, Literal

from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.sweep.plan.space import Point, Space

Phase = Literal["search", "final"]


@dataclass(frozen=True)
class StudyPlan:
    """One arm on one task: what is searched, and then retrained on fresh seeds.

    Attributes:
        task: the task's label.
        arm: the arm's name.
        settings: the arm's configuration but for the searched fields and the seed.
        own: the hyperparameters that are searched in this arm alone.
        space: all that are searched in it, those of every arm first.
    """

    task: str
    arm: str
    settings: dict[str, Any]
    own: Space
    space: Space

    @property
    def name(self) -> str:
        return f"{self.task}/{self.arm}"

    def study_name(self, phase: Phase) -> str:
        """Name of the Optuna study that holds a phase."""
        return self.name if phase == "search" else f"{self.name}/final"

    def config(self, point: Point, seed: int) -> Config:
        """The experiment at one point of the search space.

        Raises:
            UserError: if the point makes it impossible.
        """
        changes = {**point, "seed": seed}
        return Config.parse(override(self.settings, changes), f"arm '{self.arm}' on {self.task}")
