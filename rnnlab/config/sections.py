"""The sections of an experiment."""

from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import Field, SerializationInfo, ValidationInfo, field_serializer, field_validator

from rnnlab.common.options import Options
from rnnlab.config.device import check_device
from rnnlab.config.kinds import AnyCell, AnyOptimizer, AnyTask, dump_remedies, read_remedies
from rnnlab.config.optimizers import Adam
from rnnlab.layers.checks import check_dilation
from rnnlab.layers.initialization import Initialization
from rnnlab.probes.base import PRESETS, Preset, select
from rnnlab.remedies import Remedy
from rnnlab.remedies.truncation import Truncation

R = TypeVar("R", bound=Remedy)
MOST_LAYERS = 1000
MOST_THREADS = 256
"""More than this is a slip: it only makes torch slow."""


class ModelOptions(Options):
    """What stands around the recurrent cell."""

    num_layers: int = Field(default=1, ge=1, le=MOST_LAYERS)
    bidirectional: bool = False
    residual_layers: bool = False
    """Add each layer's input to its output, from the second layer on."""
    dilation: int | tuple[int, ...] = 1
    """How many steps back each layer reads its states: one number for all, or one for each (Chang et al. 2017)."""
    checkpoint_every: int | None = None
    """Compute segments of so many steps again on the way back, to save memory on long sequences; none keeps all."""
    input: Literal["auto", "raw", "one_hot", "embedding"] = "auto"
    """How inputs enter: auto is raw for features and one-hot for symbols."""
    embedding_size: int = Field(default=32, ge=1)

    @field_validator("dilation", mode="before")
    @classmethod
    def _check_dilation(cls, value: Any, fields: ValidationInfo) -> Any:
        if "num_layers" in fields.data:
            check_dilation(value, fields.data["num_layers"])
        return value


class TrainingOptions(Options):
    """The training loop."""

    steps: int = Field(default=2000, ge=1)
    """Optimiser updates at most."""
    batch_size: int = Field(default=32, ge=1)
    stream: bool = False
    """Each window of truncated back-propagation is an update of its own, and the state is carried on to the next.

    A batch is then so many long sequences side by side; once they are read, fresh ones follow, from states of zero.
    """
    eval_every: int = Field(default=100, ge=1)
    """Updates between two looks at the validation set."""
    eval_examples: int = Field(default=500, ge=1)
    test_examples: int = Field(default=2000, ge=1)
    stop_when_solved: bool = True
    stop_at: float | None = None
    """A validation score at which training is over, in the place of the task's own criterion."""


class Recording(Options):
    """At which training steps gradients are recorded, and what counts as vanished or exploded."""

    points: int = Field(default=40, ge=0)
    """Recorded training steps; 0 records nothing."""
    spacing: Literal["log", "linear"] = "log"
    vanished: float = Field(default=-6.0, lt=0)
    """log10 of first over last measured norm below which the gradient counts as vanished."""
    exploded: float = Field(default=6.0, gt=0)
    """log10 of first over last measured norm above which the gradient counts as exploded."""
    probes: Preset | tuple[str, ...] = "light"
    """Which probes run besides, on passes of their own: light, none; standard and full, those of the preset; or names.

    A probed step takes as long as some tens of updates with standard, and some hundred with full.
    """
    probe_points: int = Field(default=5, ge=1)
    """Probed training steps, spread logarithmically; a run that is solved before the last one is probed at its end."""

    @field_validator("probes", mode="before")
    @classmethod
    def _check_probes(cls, value: Any) -> Any:
        if value not in PRESETS and isinstance(value, str | list | tuple):
            select(value)
        return value

    @property
    def is_probed(self) -> bool:
        """Whether probes run."""
        return self.probes != "light"

    def chosen_steps(self, steps: int) -> frozenset[int]:
        """Which training steps are recorded: step 0 is the gradient at initialisation.

        Args:
            steps: planned number of updates.

        Returns:
            At most `points` steps below `steps`.
        """
        if self.points == 0:
            return frozenset()
        if self.spacing == "linear":
            return frozenset(np.linspace(0, steps - 1, self.points).round().astype(int).tolist())
        return frozenset((np.geomspace(1, steps, self.points).round().astype(int) - 1).tolist())


class Sections(Options):
    """All of an experiment, section by section, before anybody has asked whether it fits together."""

    task: AnyTask
    cell: AnyCell
    init: Initialization = Initialization()
    model: ModelOptions = ModelOptions()
    optimizer: AnyOptimizer = Adam()
    remedies: tuple[Remedy, ...] = ()
    """What is done against vanishing and exploding gradients, by kind; they act in the order in which they stand."""
    training: TrainingOptions = TrainingOptions()
    recording: Recording = Recording()
    seed: int = Field(default=0, ge=0)
    dtype: Literal["float32", "float64"] = "float32"
    device: str = "cpu"
    """Where it runs: cpu, cuda or one GPU of several, cuda:1; auto is cuda where there is one when it is read."""
    threads: int = Field(default=1, ge=1, le=MOST_THREADS)
    """Threads inside torch; part of the experiment because sums depend on their order."""

    @field_validator("device")
    @classmethod
    def _check_device(cls, value: str) -> str:
        return check_device(value)

    @field_validator("optimizer", mode="before")
    @classmethod
    def _adam_by_default(cls, value: Any) -> Any:
        return {"kind": "adam", **value} if isinstance(value, dict) else value

    @field_validator("remedies", mode="before")
    @classmethod
    def _read_remedies(cls, value: Any) -> Any:
        return read_remedies(value)

    @field_serializer("remedies")
    def _dump_remedies(self, remedies: tuple[Remedy, ...], how: SerializationInfo) -> dict[str, Any]:
        return dump_remedies(remedies, how)

    def remedy(self, kind: type[R]) -> R | None:
        """The remedy of a class, where it is in force."""
        return next((remedy for remedy in self.remedies if isinstance(remedy, kind)), None)

    @property
    def steps_an_update(self) -> int:
        """Time steps that one update learns from."""
        truncation = self.remedy(Truncation)
        return truncation.window if self.training.stream and truncation is not None else self.task.total_steps
