"""Configurations as plain data: read from YAML, and changed field by field."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NoReturn, TextIO

import yaml

from rnnlab.cells import CELLS
from rnnlab.common.errors import UserError
from rnnlab.common.shipped import locate, shipped
from rnnlab.config.optimizers import OPTIMIZERS
from rnnlab.tasks import TASKS


class _Loader(yaml.SafeLoader):
    """The safe loader, which refuses what would be read as something else than it says, without a word.

    Keys are looked at as they are written, before those of merged mappings (`<<: *anchor`) join them.
    """

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        alias = self.peek_event() if self.check_event(yaml.AliasEvent) else None
        node = super().compose_node(parent, index)
        if alias is not None and node is not None and node.end_mark is None:  # it is not at its end yet
            _refuse(f"anchor '{alias.anchor}' stands inside what it names: write it out there", alias.start_mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        keys: list[str] = []
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                name = key.value
            elif not isinstance(name := self.construct_object(key, deep=True), str):
                said = key.value if isinstance(key, yaml.ScalarNode) else yaml.serialize(key).strip()
                _refuse(f"key {said} is read as {name!r} and not as a name: quote it, '{said}'", key.start_mark)
            if name in keys:
                _refuse(f"key '{name}' stands twice", key.start_mark)
            keys.append(name)
        return node


def _refuse(what: str, where: Any) -> NoReturn:
    raise yaml.constructor.ConstructorError(None, None, what, where)


def parse_yaml(text: str | TextIO) -> Any:
    """Read YAML safely.

    Raises:
        yaml.YAMLError: if it is none, or holds a key that is no text or stands twice, or an anchor inside itself.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except RecursionError:
        raise yaml.YAMLError("it is nested too deeply") from None


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML mapping safely.

    Args:
        path: the file, or the name of one that comes with the package.

    Raises:
        UserError: if the file is missing, unreadable, or not a mapping.
    """
    try:
        with locate(path).open(encoding="utf-8") as file:
            data = parse_yaml(file)
    except OSError as error:
        known = (
            f", or one that comes with rnnlab: {', '.join(shipped())}" if isinstance(error, FileNotFoundError) else ""
        )
        raise UserError(f"cannot read {path}: {error.strerror}; name an existing YAML file{known}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        found = "is empty" if data is None else f"holds a {type(data).__name__}"
        raise UserError(f"{path} {found}, where sections with fields are expected, such as `task: {{kind: adding}}`")
    return data


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
            changes[key.strip()] = parse_yaml(value)
        except yaml.YAMLError as error:
            reason = getattr(error, "problem", None) or error
            raise UserError(f"override '{item}': the value is not valid YAML ({reason}); quote it") from None
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
    for name, value in sorted(flatten(changes), key=lambda item: not item[0].endswith("kind")):
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


def flatten(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Every value of nested mappings by dotted name; an empty mapping is a value.

    Example:
        >>> flatten({"cell": {"kind": "gru"}, "remedies.clipping": {}})
        [('cell.kind', 'gru'), ('remedies.clipping', {})]
    """
    flat: list[tuple[str, Any]] = []
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            flat += flatten(value, f"{prefix}{key}.")
        else:
            flat.append((f"{prefix}{key}", value))
    return flat


def _fields_of(section: str, kind: Any) -> set[str]:
    """Fields that the given kind of a section has; empty where the kind is unknown, for validation to refuse."""
    kinds: Mapping[str, Any] = {"cell": CELLS, "task": TASKS, "optimizer": OPTIMIZERS}.get(section, {})
    return set(kinds[kind].model_fields) if kind in kinds else set()
