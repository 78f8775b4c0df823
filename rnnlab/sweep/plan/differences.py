"""What differs between the definitions of two sweeps: every setting that decides what is run, defaults included."""

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rnnlab.common.text import listing
from rnnlab.config.overrides import flatten
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.study import StudyPlan

NONE = "–"
SINGLE = ("seeds", "search_seeds", "seed", "sampler", "pruner", "equal")
MOST_NAMES = 6
"""Studies that are named; more are counted."""


class Difference(NamedTuple):
    """A setting that two sweeps do not share.

    Attributes:
        name: dotted name of the field.
        a: its value in the one, as text; a dash where it has no such field.
        b: its value in the other.
        where: the studies (task/arm) that it holds for.
    """

    name: str
    a: str
    b: str
    where: str


def differences(a: SweepDefinition, b: SweepDefinition, arms: Mapping[str, str]) -> list[Difference]:
    """List the settings in which two sweeps differ.

    Configurations are compared as they are resolved: one that sets a default is like one that leaves it out.

    Args:
        a: a sweep.
        b: another one.
        arms: which arm of b each arm of a is held against; only these are looked at.
    """
    found = [Difference(name, x, y, "the sweep") for name, x, y in _unlike(_whole(a), _whole(b))]
    plans = {(plan.task, plan.arm): plan for plan in b.studies}
    pairs = [(plan, plans.get((plan.task, arms[plan.arm]))) for plan in a.studies if plan.arm in arms]
    common = [(_settings(one, a), _settings(other, b), one.name) for one, other in pairs if other is not None]
    where: dict[tuple[str, str, str], list[str]] = {}
    for one, other, study in common:
        for unlike in _unlike(one, other):
            where.setdefault(unlike, []).append(study)
    for key, studies in where.items():
        named = listing(studies) if len(studies) <= MOST_NAMES else f"{len(studies)} of {len(common)} studies"
        found.append(Difference(*key, "everywhere" if len(studies) == len(common) else named))
    return found


def _whole(definition: SweepDefinition) -> dict[str, str]:
    """Settings of the sweep as a whole, as text."""
    numbers = {"trials": definition.search_trials} | {name: getattr(definition, name) for name in SINGLE}
    files = {f"imports.{file}": digest[:12] for file, digest in definition.imports.items()}
    return {name: str(value) for name, value in numbers.items()} | files


def _settings(plan: StudyPlan, definition: SweepDefinition) -> dict[str, str]:
    """Every field of the configuration of a study but the seed, and what is searched, as text."""
    fields = dict(flatten(plan.config({}, definition.seed).model_dump(mode="json")))
    fixed = {name: json.dumps(value) for name, value in fields.items() if name != "seed"}
    spaces = {
        f"search.{name}": json.dumps(dimension.model_dump(exclude_defaults=True))
        for name, dimension in plan.space.items()
    }
    return fixed | dict.fromkeys(plan.space, "searched") | spaces


def _unlike(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for name in dict.fromkeys([*a, *b]):
        x, y = a.get(name, NONE), b.get(name, NONE)
        if x != y:
            yield name, x, y
