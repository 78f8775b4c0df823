"""One arm on one task of a sweep, with everything that is run there."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.config.shape import shape
from rnnlab.sweep.plan.outline import StudyKey
from rnnlab.sweep.plan.space import Point, Space


@dataclass(frozen=True)
class StudyPlan(StudyKey):
    """One arm on one task: what is searched, and then retrained on fresh seeds.

    Attributes:
        task: the task's label.
        arm: the arm's name.
        settings: the arm's configuration but for the searched fields and the seed.
        own: the hyperparameters that are searched in this arm alone.
        space: all that are searched in it, those of every arm first.
    """

    settings: Mapping[str, Any]
    own: Space
    space: Space

    @property
    def key(self) -> StudyKey:
        """Arm and task alone."""
        return StudyKey(self.task, self.arm)

    @cached_property
    def shape(self) -> str | None:
        """What all of its runs have in common, to be trained together; none where the search varies that."""
        first = {name: dimension.extremes()[0] for name, dimension in self.space.items()}
        points = [first, *({**first, name: v} for name, each in self.space.items() for v in each.probes())]
        shapes = {shape(self.config(point, 0)) for point in points}
        return shapes.pop() if len(shapes) == 1 else None

    def config(self, point: Point, seed: int) -> Config:
        """The experiment at one point of the search space.

        Raises:
            UserError: if the point makes it impossible.
        """
        changes = {**point, "seed": seed}
        return Config.parse(override(self.settings, changes), f"arm '{self.arm}' on {self.task}")

    def checked(self, point: Point, seed: int) -> Config:
        """The experiment at a point; where a number is not whole and should be, the message says what is missing.

        Raises:
            UserError: if the point makes it impossible.
        """
        try:
            return self.config(point, seed)
        except UserError:
            for name, value in point.items():
                broken = isinstance(value, float) and not value.is_integer()
                if broken and self._allows({**point, name: round(value)}, seed):
                    where = f"arms.{self.arm}.search.{name}" if name in self.own else f"search.{name}"
                    raise UserError(
                        f"{where} leads to {value:g}, and the field takes whole numbers alone: add integer: true"
                    ) from None
            raise

    def _allows(self, point: Point, seed: int) -> bool:
        try:
            self.config(point, seed)
        except UserError:
            return False
        return True
