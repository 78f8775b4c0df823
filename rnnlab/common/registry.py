"""Kinds by name: one file, one entry, whether it lies in a folder of the package or in a plug-in."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError

from rnnlab.common.errors import UserError, nearest
from rnnlab.common.plugins import load_installed

T = TypeVar("T")
C = TypeVar("C", bound=type[BaseModel])


class Registry(Mapping[str, T]):
    """Everything of one sort by its name, complete at the first look-up.

    Args:
        what: such as `"cell"`; also the section of a configuration that names an entry by its `kind`.
        folder: the package whose modules register entries; none where they stand in the registry's own file.

    Example:
        >>> from rnnlab.cells import CELLS
        >>> CELLS.find("lstm").__name__
        'LSTMCell'
    """

    def __init__(self, what: str, folder: str | None = None) -> None:
        self.what, self.folder = what, folder
        self._entries: dict[str, T] = {}
        self._definitions: dict[str, Any] = {}

    def register(self, entry: C) -> C:
        """Make a class known by the default of its field `kind`; used as a decorator."""
        field = entry.model_fields.get("kind")
        if field is None or not isinstance(field.default, str):
            raise UserError(
                f"{self.what} {entry.__name__} has no name: give its class a field `kind` with a default, such as "
                'kind: Literal["mine"] = "mine"'
            )
        self.add(field.default, entry, entry)  # type: ignore[arg-type]
        return entry

    def add(self, name: str, entry: T, definition: Any) -> None:
        """Make an entry known.

        Args:
            name: what it is asked for by.
            entry: what is found.
            definition: the class or function behind it; a second one of this name takes its place only if it is the
                same one, defined anew.

        Raises:
            UserError: if the name is taken.
        """
        known = self._definitions.setdefault(name, definition)
        if _home(known) != _home(definition):
            raise UserError(
                f"{self.what} '{name}' is defined in {_home(known)[0]} and in {_home(definition)[0]}: "
                "give one of them another name"
            )
        self._entries[name], self._definitions[name] = entry, definition

    def find(self, name: str) -> T:
        """Look up an entry; raises UserError with the nearest name where there is none."""
        if name not in self:
            raise UserError(f"{self.what} {name!r} is unknown: {nearest(name, self)}")
        return self[name]

    def read(self, data: Any) -> Any:
        """Validate plain data as the entry that its `kind` names, for a field of a pydantic model.

        It looks the kind up when it validates, so what has been registered since counts. What is no mapping is
        left to the type of the field.
        """
        if not isinstance(data, dict):
            return data
        kind = data.get("kind")
        if "kind" not in data:
            raise _refused(self.what, {"type": "missing", "loc": ("kind",), "input": data})
        if not isinstance(kind, str) or kind not in self:
            unknown = PydanticCustomError("unknown_kind", "{advice}", {"advice": nearest(str(kind), self)})
            raise _refused(self.what, {"type": unknown, "loc": ("kind",), "input": kind})
        entry: Any = self[kind]
        return entry.model_validate(data)

    def __getitem__(self, name: str) -> T:
        self._load()
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))  # whoever was imported first

    def __len__(self) -> int:
        self._load()
        return len(self._entries)

    def _load(self) -> None:
        if self.folder is not None:
            package = importlib.import_module(self.folder)
            self.folder = None
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{package.__name__}.{module.name}")
        load_installed()


def _refused(title: str, error: InitErrorDetails) -> ValidationError:
    return ValidationError.from_exception_data(title, [error])


def _home(definition: Any) -> tuple[str, str]:
    """File, or module where there is none, and name of a class or function."""
    module = sys.modules.get(definition.__module__)
    return getattr(module, "__file__", None) or definition.__module__, definition.__qualname__
