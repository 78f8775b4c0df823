"""One experiment is one frozen, validated value."""

import hashlib
import json
from pathlib import Path
from typing import Self

from pydantic import model_validator

from rnnlab.common.errors import UserError, check_type
from rnnlab.common.plugins import import_files
from rnnlab.config.checks import refuse_impossible
from rnnlab.config.device import kind_of
from rnnlab.config.overrides import override, parse_overrides, read_yaml
from rnnlab.config.sections import Sections


class Config(Sections):
    """One experiment: what is learned, by what, how, and what is written down.

    Example:
        >>> config = Config.parse({"task": {"kind": "adding", "length": 20}, "cell": {"kind": "lstm"}})
        >>> config.cell.hidden_size
        64
    """

    @model_validator(mode="after")
    def _refuse_impossible_combinations(self) -> Self:
        refuse_impossible(self)
        return self

    def canonical_json(self) -> str:
        """Every field with its value, in one fixed spelling; of the device its kind, where that is not a CPU."""
        data = self.model_dump(mode="json")
        data["device"] = kind_of(self.device)
        if data["device"] == "cpu":
            del data["device"]  # as before there was a choice: hashes stay what they were
        return json.dumps(data, separators=(",", ":"))  # unsorted: remedies have an order

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name this configuration."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:12]


def load_config(path: str | Path, overrides: list[str] | tuple[str, ...] = ()) -> Config:
    """Read one experiment from YAML and change single fields.

    Args:
        path: the YAML file; under `imports` it may name Python files that register what it uses.
        overrides: `"section.field=value"` items, later ones winning; values are read as YAML.

    Returns:
        The validated configuration.

    Raises:
        UserError: if the file or an override is wrong, or the file is a sweep.
    """
    check_type("path", path, str | Path)
    check_type("overrides", overrides, list | tuple)
    data = read_yaml(path)
    if "arms" in data:
        raise UserError(
            f"{path} is a sweep, and an experiment is expected: `rnnlab run {path} --task TASK --arm ARM "
            "--print-config` prints one of its experiments"
        )
    import_files(data.pop("imports", None) or ())
    return Config.parse(override(data, parse_overrides(overrides)), str(path))
