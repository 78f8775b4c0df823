"""Which factors a sweep studies, which it tunes away, and which it holds fixed."""

import json
from collections.abc import Mapping, Set
from typing import Any, NamedTuple

from rnnlab.common.text import count, listing
from rnnlab.config.overrides import flatten
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.space import Dimension

SIZES = {
    "width": "the hidden size of the base in every arm that does not set its own",
    "parameters": "in every arm the hidden size that brings its number of parameters closest to that of the base",
}
"""What `equal` means."""


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
    """The arm that changes nothing of the base, which others are to improve on; None if there is none."""
    return next((name for name, arm in definition.arms.items() if arm.is_plain), None)


def factors(definition: SweepDefinition) -> list[Factor]:
    """List every factor of a sweep with its role.

    Reference: Godbole et al. 2023, "Deep Learning Tuning Playbook", on scientific, nuisance and fixed hyperparameters.
    """
    arms = [f"{name} ({_settings(arm.overrides) or 'the base as it is'})" for name, arm in definition.arms.items()]
    tasks = [_task(entry) for entry in definition.tasks]
    shared = [
        Factor("nuisance", f"`{name}`", f"searched, {span(dimension)}, alike for every arm")
        for name, dimension in definition.search.items()
    ]
    searching = "one" if definition.search_seeds == 1 else str(definition.search_seeds)
    return [
        Factor("scientific", "arm", "; ".join(arms)),
        Factor("scientific" if len(tasks) > 1 else "fixed", "task", "; ".join(tasks)),
        *shared,
        *_own(definition),
        Factor("nuisance", "seed", f"{searching} in the search, fresh ones afterwards, alike for every arm"),
        Factor("fixed", "search budget", search_budget(definition)),
        Factor("fixed", "size", SIZES[definition.equal]),
        Factor("fixed", "settings", _settings(definition.base, without=set(definition.search)) or "none of its own"),
        Factor("fixed", "everything else", "the defaults, as logged with every run"),
    ]


def searched(definition: SweepDefinition) -> list[str]:
    """Every hyperparameter that some arm searches, those of every arm first."""
    return list(dict.fromkeys([*definition.search, *(name for arm in definition.arms.values() for name in arm.search)]))


def search_budget(definition: SweepDefinition) -> str:
    """Say what every arm gets for its search, and how many hyperparameters it spends that on."""
    arms: dict[int, list[str]] = {}
    for name, arm in definition.arms.items():
        arms.setdefault(len(definition.search) + len(arm.search), []).append(name)
    each = f"{count(definition.search_trials, 'trial')} in every arm, over"
    if len(arms) == 1:
        return f"{each} {count(next(iter(arms)), 'hyperparameter')}"
    spent = [f"{count(n, 'hyperparameter')} in {listing(names)}" for n, names in sorted(arms.items())]
    return f"{each} {', over '.join(spent)}: what an arm searches besides does not buy it trials"


def _own(definition: SweepDefinition) -> list[Factor]:
    """What is searched in some arms alone."""
    arms: dict[tuple[str, str], list[str]] = {}
    for name, arm in definition.arms.items():
        for field, dimension in arm.search.items():
            arms.setdefault((field, span(dimension)), []).append(name)
    return [
        Factor("nuisance", f"`{field}`", f"searched, {values}, in {listing(names)} alone")
        for (field, values), names in arms.items()
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
    shown = [(name, json.dumps(value).strip('"')) for name, value in flatten(data) if name not in without]
    return ", ".join(f"`{name}` = {value}" for name, value in shown)
