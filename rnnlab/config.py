"""One experiment is one frozen, validated value."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self, Union

import yaml
from pydantic import Field, field_validator, model_validator

from rnnlab.cells import CELLS
from rnnlab.combinations import refuse_impossible
from rnnlab.errors import UserError
from rnnlab.initialization import Initialization
from rnnlab.optimizers import OPTIMIZERS, Adam, AnyOptimizer
from rnnlab.options import Options
from rnnlab.probes.base import Preset
from rnnlab.tasks import TASKS

if TYPE_CHECKING:
    from rnnlab.cells import Cell as AnyCell
    from rnnlab.tasks import Task as AnyTask
else:
    AnyTask = Annotated[Union[tuple(TASKS.values())], Field(discriminator="kind")]  # noqa: UP007
    AnyCell = Annotated[Union[tuple(CELLS.values())], Field(discriminator="kind")]  # noqa: UP007


class ModelOptions(Options):
    """What stands around the recurrent cell."""

    num_layers: int = Field(default=1, ge=1)
    bidirectional: bool = False
    residual_layers: bool = False
    """Add each layer's input to its output, from the second layer on."""
    dilation: int | tuple[int, ...] = 1
    """How many steps back each layer reads its states: one number for all, or one for each (Chang et al. 2017)."""
    checkpoint_every: int | None = Field(default=None, ge=1)
    """Compute segments of so many steps again on the way back, to save memory on long sequences; none keeps all."""
    input: Literal["auto", "raw", "one_hot", "embedding"] = "auto"
    """How inputs enter: auto is raw for features and one-hot for symbols."""
    embedding_size: int = Field(default=32, ge=1)

    @field_validator("dilation", mode="before")
    @classmethod
    def _check_dilation(cls, value: Any) -> Any:
        each = value if isinstance(value, list | tuple) else [value]
        if not each or any(type(d) is not int or d < 1 for d in each):
            raise ValueError(f"{value!r} is not allowed: give one positive number, or a list of one for each layer")
        return value

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        if isinstance(self.dilation, tuple) and len(self.dilation) != self.num_layers:
            raise ValueError(
                f"dilation = {list(self.dilation)} has {len(self.dilation)} numbers for num_layers = "
                f"{self.num_layers}: give one for each layer, or a single one for all"
            )
        return self


class Truncation(Options):
    """Truncated back-propagation: every `stride` steps, the loss of those steps goes back `window` steps.

    Reference: Williams and Peng 1990, "An Efficient Gradient-Based Algorithm for On-Line Training", BPTT(h; h').
    """

    window: int = Field(ge=1)
    """k₂: how far back each loss reaches."""
    stride: int | None = Field(default=None, ge=1)
    """k₁: steps between two passes back; none is `window`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stride is not None and self.stride > self.window:
            raise ValueError(
                f"stride = {self.stride} is longer than window = {self.window}, which would leave losses "
                "without gradient: choose a stride of at most the window"
            )
        return self


class Clipping(Options):
    """Bound the gradient of all weights together by its norm, or each of its entries by value."""

    kind: Literal["norm", "value"] = "norm"
    threshold: float = Field(default=1.0, gt=0)


class TrainingOptions(Options):
    """The training loop."""

    steps: int = Field(default=2000, ge=1)
    """Optimiser updates at most."""
    batch_size: int = Field(default=32, ge=1)
    truncation: Truncation | None = None
    clip: Clipping | None = None
    eval_every: int = Field(default=100, ge=1)
    """Updates between two looks at the validation set."""
    eval_examples: int = Field(default=500, ge=1)
    test_examples: int = Field(default=2000, ge=1)
    stop_when_solved: bool = True


class Recording(Options):
    """At which training steps gradients are recorded, and what counts as vanished or exploded."""

    points: int = Field(default=40, ge=0)
    """Recorded training steps; 0 records nothing."""
    spacing: Literal["log", "linear"] = "log"
    vanished: float = Field(default=-6.0, lt=0)
    """log10 of first over last measured norm below which the gradient counts as vanished."""
    exploded: float = Field(default=6.0, gt=0)
    """log10 of first over last measured norm above which the gradient counts as exploded."""
    probes: Preset = "light"
    """Which probes run besides: light, none; standard and full, those of the preset, on passes of their own.

    A probed step takes as long as some tens of updates with standard, and some hundred with full.
    """
    probe_points: int = Field(default=5, ge=1)
    """Probed training steps, spread logarithmically."""


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
    training: TrainingOptions = TrainingOptions()
    recording: Recording = Recording()
    seed: int = Field(default=0, ge=0)
    dtype: Literal["float32", "float64"] = "float32"
    threads: int = Field(default=1, ge=1)
    """Threads inside torch; part of the experiment because sums depend on their order."""

    @field_validator("optimizer", mode="before")
    @classmethod
    def _adam_by_default(cls, value: Any) -> Any:
        return {"kind": "adam", **value} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _refuse_impossible_combinations(self) -> Self:
        refuse_impossible(self)
        return self

    def canonical_json(self) -> str:
        """Every field with its value, in one fixed spelling."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name this configuration."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:12]


class _Loader(yaml.SafeLoader):
    """The safe loader, which also refuses a key that stands twice: the first one would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                where = node.value[position][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' stands twice", where)
        return super().construct_mapping(node, deep)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping safely.

    Raises:
        UserError: if the file is missing, unreadable, or not a mapping.
    """
    try:
        with Path(path).open(encoding="utf-8") as file:
            data = yaml.load(file, Loader=_Loader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name an existing YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds a {type(data).__name__}"
        raise UserError(f"{path} {found}, where sections with fields are expected: see experiments/adding.yaml")
    return data


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read one experiment from YAML and change single fields.

    Args:
        path: the YAML file.
        overrides: `"section.field=value"` items, later ones winning; values are read as YAML.

    Returns:
        The validated configuration.

    Raises:
        UserError: if the file or an override is wrong.
    """
    return Config.parse(override(read_yaml(path), parse_overrides(overrides)), str(path))


def parse_overrides(items: Iterable[str]) -> dict[str, Any]:
    """Read `"section.field=value"` items into values by dotted name.

    Raises:
        UserError: if an item has no `=`, or a value that is not YAML.
    """
    changes: dict[str, Any] = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator or not key.strip():
            raise UserError(f"override '{item}' is not of the form section.field=value, such as optimizer.lr=3e-3")
        try:
            changes[key.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UserError(f"override '{item}': the value is not valid YAML; quote it") from None
    return changes


def override(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Set fields of nested plain data by dotted name.

    Changing a `kind` (of cell, task or optimiser) keeps those neighbours that the new kind has too and drops
    the rest: `cell.kind=lstm` on a vanilla cell keeps `hidden_size` and forgets `activation`.

    Args:
        data: nested mappings; left as it is.
        changes: dotted name to value; a mapping as value is merged into what is there.

    Returns:
        A changed copy.

    Raises:
        UserError: if a name leads through something that is not a mapping.
    """
    result = _copy(data)
    for name, value in sorted(_flatten(changes), key=lambda item: not item[0].endswith("kind")):
        *sections, field = name.split(".")
        node = result
        for section in sections:
            if node.get(section) is None:
                node[section] = {}
            node = node[section]
            if not isinstance(node, dict):
                raise UserError(f"override '{name}': '{section}' is not a section with fields")
        if field == "kind" and len(sections) == 1 and node.get("kind") != value:
            known = _fields_of(sections[0], value)
            for other in [key for key in node if key not in known]:
                del node[other]
        node[field] = value
    return result


def _copy(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, Mapping) else value for key, value in data.items()}


def _flatten(changes: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in changes.items():
        if isinstance(value, Mapping) and value:
            flat += _flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value))
    return flat


def _fields_of(section: str, kind: Any) -> set[str]:
    """Fields that the given kind of a section has; empty where the kind is unknown, for validation to refuse."""
    kinds: dict[str, Any] = {"cell": CELLS, "task": TASKS, "optimizer": OPTIMIZERS}.get(section, {})
    return set(kinds[kind].model_fields) if kind in kinds else set()
