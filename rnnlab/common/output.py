"""Where the command line speaks: progress for people, one line or one JSON object for programs."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console


@dataclass(frozen=True)
class Output:
    """How much a command says, and where.

    Attributes:
        quiet: say nothing on the way; errors still go to stderr.
        json: print one JSON object on stdout at the end, and nothing else there.
    """

    quiet: bool = False
    json: bool = False

    @property
    def plain(self) -> bool:
        """Whether a person is to read everything on stdout."""
        return not (self.quiet or self.json)

    def console(self) -> Console:
        """Where progress goes: stdout, stderr where stdout is a program's, nowhere when quiet."""
        return Console(stderr=self.json, quiet=self.quiet)

    def finish(self, facts: Mapping[str, Any], word: str | None = None) -> None:
        """Say what came of it, where that is for a program.

        Args:
            facts: everything worth telling, printed as JSON where that was asked for.
            word: the one thing that a quiet command prints instead, if there is one.
        """
        if self.json:
            print(dumps(facts), flush=True)
        elif self.quiet and word is not None:
            print(word, flush=True)


def dumps(facts: Any) -> str:
    """Write JSON that every parser reads: what is no finite number becomes null."""
    return json.dumps(_plain(facts), allow_nan=False, ensure_ascii=False, indent=2)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
