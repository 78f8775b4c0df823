"""Numbers as a reader of tables and sentences wants them."""

import math
from collections.abc import Sequence


def number(value: float, digits: int = 3) -> str:
    """Write a number with the given significant digits; a dash where there is none.

    Example:
        >>> number(0.0123456), number(12345.6), number(2e-9), number(float("nan"))
        ('0.0123', '12300', '2e-09', '–')
    """
    if math.isnan(value):
        return "–"
    if math.isinf(value) or value == 0:
        return f"{value:g}"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 9.999 is 10.0
    if not -5 < exponent < 6:
        return f"{value:.{digits}g}"
    rounded = round(value, digits - 1 - exponent)
    return f"{rounded:.{max(0, digits - 1 - exponent)}f}"


def whole(value: float) -> str:
    """Write a number of steps; a dash where there is none.

    Example:
        >>> whole(125.0), whole(float("nan"))
        ('125', '–')
    """
    return "–" if math.isnan(value) else f"{value:.0f}"


def interval(value: float, low: float, high: float) -> str:
    """Write an estimate with the bounds of its interval in brackets, if it has one.

    Example:
        >>> interval(0.0123456, 0.0098, 0.0151), interval(0.5, float("nan"), float("nan"))
        ('0.0123 [0.00980, 0.0151]', '0.500')
    """
    if math.isnan(low) or math.isnan(high):
        return number(value)
    return f"{number(value)} [{number(low)}, {number(high)}]"


def median(value: float, low: float, high: float, limit: float) -> str:
    """Write a median number of steps with its bounds; above the limit where it was not reached.

    Example:
        >>> median(400, 250, 900, 1000), median(float("nan"), 700, float("nan"), 1000)
        ('400 [250, 900]', '> 1000 [700, –]')
    """
    if math.isnan(limit):
        return "–"
    shown = f"> {whole(limit)}" if math.isnan(value) else whole(value)
    return shown if math.isnan(low) and math.isnan(high) else f"{shown} [{whole(low)}, {whole(high)}]"


def chance(p: float) -> str:
    """Write a p-value.

    Example:
        >>> chance(0.0312), chance(2e-5), chance(float("nan"))
        ('0.031', '< 0.001', '–')
    """
    return "–" if math.isnan(p) else "< 0.001" if p < 0.001 else number(p, 2)


def duration(seconds: float) -> str:
    """Write a time span in the unit that suits it.

    Example:
        >>> duration(3.217), duration(150), duration(9000)
        ('3.22 s', '2.5 min', '2.5 h')
    """
    if math.isnan(seconds):
        return "–"
    if seconds < 100:
        return f"{number(seconds)} s"
    return f"{seconds / 60:.1f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """Write a time span as a clock does.

    Example:
        >>> clock(7.4), clock(750), clock(11045)
        ('0:07', '12:30', '3:04:05')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def listing(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Example:
        >>> listing(["lstm", "gru", "tanh"])
        'lstm, gru and tanh'
    """
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def count(n: int, noun: str) -> str:
    """Write a number of things.

    Example:
        >>> count(1, "run"), count(3, "run")
        ('1 run', '3 runs')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def markdown_table(cells: Sequence[Sequence[str]]) -> str:
    """Write cells as a table in Markdown.

    Args:
        cells: rows of equal length, the header first.

    Example:
        >>> print(markdown_table([["arm", "solved"], ["gru", "20"]]))
        | arm | solved |
        | --- | --- |
        | gru | 20 |
    """
    header, *rows = cells
    return "\n".join(f"| {' | '.join(line)} |" for line in [header, ["---"] * len(header), *rows])
