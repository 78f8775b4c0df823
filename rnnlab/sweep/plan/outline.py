"""What the progress of a sweep is counted against: its studies, and how many slots each has.

It holds no configuration, so that whoever only looks at a sweep imports nothing that trains.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Self

Phase = Literal["search", "final"]

_NAME = re.compile(r"(?!\.)[A-Za-z0-9._+-]{1,80}")


def is_name(text: str) -> bool:
    """Whether a sweep or an arm may have this name."""
    return _NAME.fullmatch(text) is not None


@dataclass(frozen=True)
class StudyKey:
    """One arm on one task, by name.

    Attributes:
        task: the task's label.
        arm: the arm's name.
    """

    task: str
    arm: str

    @property
    def name(self) -> str:
        return f"{self.task}/{self.arm}"

    def study_name(self, phase: Phase) -> str:
        """Name of the Optuna study that holds a phase."""
        return self.name if phase == "search" else f"{self.name}/final"


@dataclass(frozen=True)
class Planning:
    """A start of the sweep that planned something: its first, or one after its file had grown.

    Attributes:
        when: date and time, UTC.
        commit: the code that planned it.
        added: what came to the plan, in words; empty for the first start.
    """

    when: str
    commit: str
    added: str = ""


@dataclass(frozen=True)
class Outline:
    """A sweep without its configurations.

    Attributes:
        name: the sweep's name.
        hash: names everything that decides what is run.
        studies: every study, task by task, the arms in their order.
        search_trials: search trials of each study.
        search_seeds: runs of each search trial; a final slot has one.
        seeds: final slots of each study.
        imports: SHA-256 of the files that it imports, by path.
        settings: everything else that decides what is run, by dotted name, as plain data.
        history: how it came to this plan, the first start first; it decides nothing.
    """

    name: str
    hash: str
    studies: tuple[StudyKey, ...]
    search_trials: int
    search_seeds: int
    seeds: int
    imports: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    history: tuple[Planning, ...] = field(default=(), compare=False)

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Undo `to_json`."""
        fields = json.loads(text)
        studies = tuple(StudyKey(**key) for key in fields["studies"])
        return cls(**fields | {"studies": studies, "history": read_history(fields.get("history", []))})


def read_history(steps: Iterable[Mapping[str, str]]) -> tuple[Planning, ...]:
    """How a sweep came to its plan, from primitives."""
    return tuple(Planning(**step) for step in steps)
