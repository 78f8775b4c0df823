"""The one exception for a mistake of the user, which the command line prints without a traceback."""

import difflib
from collections.abc import Iterable
from typing import Any


class UserError(ValueError):
    """A mistake the user can mend: one sentence naming the field, the value and what is allowed.

    The command line prints it and exits with code 2; a library caller sees an ordinary `ValueError`.
    """


def check_type(name: str, value: object, allowed: Any) -> None:
    """Refuse an argument of another type than asked for.

    Args:
        name: of the argument.
        value: what was given.
        allowed: a type, or several joined by `|`.

    Raises:
        UserError: if the value is none of that.
    """
    if not isinstance(value, allowed):
        kinds = getattr(allowed, "__args__", (allowed,))
        wanted = " or ".join("None" if kind is type(None) else kind.__qualname__ for kind in kinds)
        raise UserError(f"{name} is of type {type(value).__qualname__}: give one of type {wanted}")


def nearest(name: str, valid: Iterable[str]) -> str:
    """Suggest the valid name closest to a mistyped one.

    Args:
        name: what the user wrote.
        valid: the names that exist.

    Returns:
        `"did you mean 'x'?"` where one is close, else `"choose from a, b, c"`.
    """
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean '{close[0]}'?" if close else f"choose from {', '.join(names)}"
