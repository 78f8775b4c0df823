"""Which factors a sweep studies, which it tunes away, and which it holds fixed."""

import json
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

from rnnlab.sweep.definition import SweepDefinition
from rnnlab.sweep.numbers import listing
from rnnlab.sweep.space import Dimension


class Factor(NamedTuple):
    """One thing that decides what a run does.

    Attributes:
        role: scientific (under study), nuisance (searched, or drawn anew) or fixed.
        name: what it is, in Markdown.
        values: what it was set to, in Markdown.
    """

    role: str
    name: str
    values: str


def plain_arm(definition: SweepDefinition) -> str | None:
    """The arm that changes nothing of the base, which others are to improve on; None if there is none, or several."""
    plain = [arm for arm, changes in definition.arms.items() if not changes]
    return plain[0] if len(plain) == 1 else None


def factors(definition: SweepDefinition) -> list[Factor]:
    """List every factor of a sweep with its role.

    Reference: Godbole et al. 2023, "Deep Learning Tuning Playbook", on scientific, nuisance and fixed hyperparameters.
    """
    arms = [f"{arm} ({_settings(changes) or 'the base as it is'})" for arm, changes in definition.arms.items()]
    tasks = [_task(entry) for entry in definition.tasks]
    searched = [
        Factor("nuisance", f"`{name}`", f"searched, {span(dimension)}, alike for every arm")
        for name, dimension in definition.search.items()
    ]
    searching = "one" if definition.search_seeds == 1 else str(definition.search_seeds)
    return [
        Factor("scientific", "arm", "; ".join(arms)),
        Factor("scientific" if len(tasks) > 1 else "fixed", "task", "; ".join(tasks)),
        *searched,
        Factor("nuisance", "seed", f"{searching} in the search, fresh ones afterwards, alike for every arm"),
        Factor("fixed", "settings", _settings(definition.base, without=set(definition.search)) or "none of its own"),
        Factor("fixed", "everything else", "the defaults, as logged with every run"),
    ]


def span(dimension: Dimension) -> str:
    """Say which values a dimension may take."""
    if dimension.choices is not None:
        return f"one of {listing([str(choice) for choice in dimension.choices])}"
    scale = ", logarithmic" if dimension.log else ""
    return f"from {dimension.low:g} to {dimension.high:g}{scale}"


def _task(entry: Mapping[str, Any]) -> str:
    """A task with its options, and what it overrides of the base."""
    options = {name: value for name, value in entry.items() if name not in ("kind", "with")}
    details = ", ".join(filter(None, [_settings(options), _settings(entry.get("with") or {})]))
    return f"{entry['kind']} ({details})" if details else str(entry["kind"])


def _settings(data: Mapping[str, Any], without: Set[str] = frozenset()) -> str:
    """Nested settings as one line of dotted names."""
    shown = [(name, json.dumps(value).strip('"')) for name, value in _leaves(data) if name not in without]
    return ", ".join(f"`{name}` = {value}" for name, value in shown)


def _leaves(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Every value that is no mapping, by dotted name."""
    found: list[tuple[str, Any]] = []
    for name, value in data.items():
        inside = isinstance(value, dict) and value
        found += _leaves(value, f"{prefix}{name}.") if inside else [(f"{prefix}{name}", value)]
    return found
