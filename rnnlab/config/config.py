"""One experiment is one frozen, validated value."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import (
    Field,
    SerializationInfo,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from rnnlab.common.options import Options
from rnnlab.common.plugins import import_files
from rnnlab.config.kinds import AnyCell, AnyOptimizer, AnyTask, dump_remedies, read_remedies
from rnnlab.config.optimizers import Adam
from rnnlab.config.overrides import override, parse_overrides, read_yaml
from rnnlab.layers.checks import check_dilation
from rnnlab.layers.initialization import Initialization, check_chrono
from rnnlab.probes.base import PRESETS, Preset, select
from rnnlab.remedies import Remedy
from rnnlab.remedies.truncation import Truncation
from rnnlab.scan.segments import check_segments

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
    """Probed training steps, spread logarithmically."""

    @field_validator("probes", mode="before")
    @classmethod
    def _check_probes(cls, value: Any) -> Any:
        if value not in PRESETS and isinstance(value, str | list | tuple):
            select(value)
        return value


class Config(Options):
    """One experiment: what is learned, by what, how, and what is written down.

    Example:
        >>> config = Config.parse({"task": {"kind": "adding", "length": 20}, "cell": {"kind": "lstm"}})
        >>> config.cell.hidden_size
        64
    """

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
    threads: int = Field(default=1, ge=1, le=MOST_THREADS)
    """Threads inside torch; part of the experiment because sums depend on their order."""

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

    @model_validator(mode="after")
    def _refuse_impossible_combinations(self) -> Self:
        refuse_impossible(self)
        return self

    def remedy(self, kind: type[R]) -> R | None:
        """The remedy of a class, where it is in force."""
        return next((remedy for remedy in self.remedies if isinstance(remedy, kind)), None)

    @property
    def steps_an_update(self) -> int:
        """Time steps that one update learns from."""
        truncation = self.remedy(Truncation)
        return truncation.window if self.training.stream and truncation is not None else self.task.total_steps

    def canonical_json(self) -> str:
        """Every field with its value, in one fixed spelling."""
        return json.dumps(self.model_dump(mode="json"), separators=(",", ":"))  # unsorted: remedies have an order

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name this configuration."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:12]


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read one experiment from YAML and change single fields.

    Args:
        path: the YAML file; under `imports` it may name Python files that register what it uses.
        overrides: `"section.field=value"` items, later ones winning; values are read as YAML.

    Returns:
        The validated configuration.

    Raises:
        UserError: if the file or an override is wrong.
    """
    data = read_yaml(path)
    import_files(data.pop("imports", None) or ())
    return Config.parse(override(data, parse_overrides(overrides)), str(path))


def refuse_impossible(config: "Config") -> None:
    """Raise ValueError for the first impossible combination."""
    for check in (
        _check_remedies,
        _check_bidirectional,
        _check_chrono,
        _check_own_start,
        _check_input,
        _check_batch_norm,
        _check_segments,
        _check_stream,
    ):
        check(config)


def _check_remedies(config: "Config") -> None:
    for remedy in config.remedies:
        if not remedy.acts:
            raise ValueError(f"remedies.{remedy.kind} does nothing: write prepare, cut, penalty or change in its class")
        remedy.check(config)
        if remedy.cuts:
            _check_cut(config, f"remedies.{remedy.kind}")
        if remedy.penalises:
            _check_penalty(config, f"remedies.{remedy.kind}")


def _check_cut(config: "Config", remedy: str) -> None:
    if config.task.answers == "decoder":
        raise ValueError(
            f"{remedy} cuts a sequence into windows with losses of their own, and all losses of {config.task.kind} "
            "are in the decoder: set it to null"
        )
    if config.model.bidirectional:
        raise ValueError(
            f"{remedy} cannot be combined with model.bidirectional = true, because the backward direction has no past "
            "to carry: set one of them to null or false"
        )


def _check_penalty(config: "Config", remedy: str) -> None:
    if config.model.checkpoint_every is not None:
        raise ValueError(
            f"{remedy} needs every step, which model.checkpoint_every = {config.model.checkpoint_every} does not keep: "
            "set one of them to null"
        )
    if not config.cell.is_repeatable:
        raise ValueError(
            f"{remedy} takes single steps again, which zoneout and batch norm do not allow: set it to null, or leave "
            "those out of the cell"
        )


def _check_bidirectional(config: "Config") -> None:
    if config.model.bidirectional and config.task.predicts_inputs:
        raise ValueError(
            f"model.bidirectional = true would read the answers of {config.task.kind}, which are later inputs: set it "
            "to false"
        )


def _check_chrono(config: "Config") -> None:
    check_chrono(config.init, config.cell, "cell.")


def _check_own_start(config: "Config") -> None:
    cell, init, default = config.cell, config.init, Initialization()
    reach = {"input": "weight_ih", "recurrent": "weight_hh", "recurrent_scale": "weight_hh", "bias": "bias_ih"}
    for field, weight in reach.items():
        value, usual = getattr(init, field), getattr(default, field)
        missing = weight not in cell.parameter_shapes(1)
        if value != usual and (missing or weight in cell.own_start):
            why = f"has no {weight}" if missing else f"prescribes how its {weight} starts"
            raise ValueError(
                f"init.{field} = {value!r} cannot apply, because cell.kind = '{cell.kind}' {why}: "
                f"leave init.{field} at {usual!r}, or choose another cell"
            )


def _check_input(config: "Config") -> None:
    if config.model.input in ("one_hot", "embedding") and not config.task.symbols:
        raise ValueError(
            f"model.input = '{config.model.input}' needs symbols, and {config.task.kind} gives numbers: "
            "choose 'raw' or 'auto'"
        )
    if config.model.input == "raw" and config.task.symbols:
        raise ValueError(
            f"model.input = 'raw' needs numbers, and {config.task.kind} gives symbols: choose 'one_hot' or 'embedding'"
        )


def _check_batch_norm(config: "Config") -> None:
    if config.cell.couples_examples and config.training.batch_size < 2:
        raise ValueError("cell.norm = 'batch' needs training.batch_size of at least 2 to have a variance: raise it")


def _check_stream(config: "Config") -> None:
    if not config.training.stream:
        return
    truncation = config.remedy(Truncation)
    if truncation is None or truncation.stride not in (None, truncation.window):
        raise ValueError(
            "training.stream = true reads a sequence window by window: set remedies.truncation.window, and no stride"
        )
    if config.task.answers != "every":
        raise ValueError(
            f"training.stream = true needs an answer at every step, and {config.task.kind} gives none before the end: "
            "set it to false"
        )
    if config.recording.probes not in ("light", "none") or config.cell.couples_examples:
        field = "cell.norm" if config.cell.couples_examples else "recording.probes"
        raise ValueError(f"training.stream = true cannot be combined with {field}: set one of them to its default")


def _check_segments(config: "Config") -> None:
    every = config.model.checkpoint_every
    check_segments(every, config.cell, "model.")
    if every is not None and config.recording.probes != "light":
        raise ValueError(
            f"recording.probes = {config.recording.probes!r} needs every step, which model.checkpoint_every = "
            f"{every} does not keep: set it to null, or recording.probes to 'light'"
        )
