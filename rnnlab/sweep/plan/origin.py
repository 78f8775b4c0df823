"""The file that a sweep was started from, as the commands that go on with it or repeat one of its runs name it."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rnnlab.common.files import digest
from rnnlab.common.shipped import locate


@dataclass(frozen=True)
class Origin:
    """A file, and one of the budgets in it.

    Attributes:
        source: the file, as the user named it, or the name of one that comes with the package.
        budget: which of the budgets declared there, if any.
        digest: SHA-256 of the file when the sweep was last started.
        imports: files that the command imports besides those that the file names.
    """

    source: str
    budget: str | None = None
    digest: str = ""
    imports: tuple[str, ...] = ()

    @classmethod
    def of(cls, path: str | Path, budget: str | None = None, imports: Iterable[str] = ()) -> Self:
        """The origin that a file is now."""
        return cls(str(path), budget, digest(locate(path).read_bytes()), tuple(imports))

    @classmethod
    def noted(cls, attributes: Mapping[str, Any]) -> Self:
        """Read it from the attributes of a study.

        Raises:
            KeyError: if none was noted there.
        """
        source, budget, digest, imports = (attributes[name] for name in ("source", "budget", "digest", "imports"))
        return cls(source, budget, digest, tuple(imports))

    def as_attributes(self) -> dict[str, Any]:
        """What to note with a study."""
        return asdict(self)

    @property
    def arguments(self) -> list[str]:
        """Arguments of a command that name the sweep."""
        imports = [word for path in self.imports for word in ("--import", path)]
        return [self.source, *(["--budget", self.budget] if self.budget else []), *imports]

    @property
    def unchanged(self) -> bool:
        """Whether the file is still what it was when the sweep was last started."""
        path = locate(self.source)
        return path.is_file() and digest(path.read_bytes()) == self.digest
