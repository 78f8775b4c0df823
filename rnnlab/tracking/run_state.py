"""What MLflow is to know of one run, in one value that fits into one file."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Self

from rnnlab.common.files import DamagedFileError
from rnnlab.training.result import Curve

OBJECTIVE = "rnnlab.objective"
"""Tag with the number that tuning minimises."""
REASON_LENGTH = 5000

Status = Literal["RUNNING", "FINISHED", "FAILED", "KILLED"]


def now() -> int:
    """Milliseconds since 1970, as MLflow counts time."""
    return int(time.time() * 1000)


@dataclass(frozen=True)
class RunState:
    """One run, as of now.

    A run ends in one of three ways: FINISHED with the outcome solved, finished or diverged; FAILED for an error; and
    KILLED, as MLflow's own Optuna storage has it, for a pruned trial: its numbers are not comparable with those of
    finished runs, so it must not look like one in the dashboard.

    Attributes:
        experiment: name of the MLflow experiment.
        name: name of the run in the dashboard.
        identity: tags which together tell the run from every other one.
        tags: its other tags.
        params: the flattened configuration.
        status: MLflow's word for how it stands.
        outcome: our word for it.
        started: when, in milliseconds since 1970.
        ended: when, likewise; None while it runs.
        seconds: wall time spent on it.
        curves: curves by name, as far as they go.
        times: when each of their steps was first noted, in milliseconds since 1970. A point that is sent to MLflow
            again carries the time it had, by which MLflow knows it for the same.
        summary: final numbers by name.
        files: SHA-256 of each artifact, by its path below the run's folder of files.
        run_id: MLflow's id, where it is known.
    """

    experiment: str
    name: str
    identity: Mapping[str, str]
    tags: Mapping[str, str]
    params: Mapping[str, str]
    status: Status = "RUNNING"
    outcome: str = "running"
    started: int = field(default_factory=now)
    ended: int | None = None
    seconds: float = 0.0
    curves: Mapping[str, Curve] = field(default_factory=dict)
    times: Mapping[int, int] = field(default_factory=dict)
    summary: Mapping[str, float] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    run_id: str | None = None

    @property
    def updates(self) -> int:
        """Updates done, as far as the curves tell."""
        return max((curve.steps[-1] for curve in self.curves.values() if curve.steps), default=0)

    def without_bulk(self) -> Self:
        """The same but for its curves and files: what is kept once they are delivered."""
        return replace(self, curves={}, times={}, files={})

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(vars(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, content: bytes) -> Self:
        """Undo `encode`.

        Raises:
            DamagedFileError: if this is something else.
        """
        try:
            fields = json.loads(content)
            fields["curves"] = {name: Curve(*curve) for name, curve in fields["curves"].items()}
            fields["times"] = {int(step): moment for step, moment in fields["times"].items()}
            return cls(**fields)
        except (ValueError, TypeError, KeyError) as error:
            raise DamagedFileError(f"not the state of a run: {error}") from None
