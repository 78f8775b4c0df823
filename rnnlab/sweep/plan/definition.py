"""What a sweep compares: tasks, arms, the search space all arms share, and the budget each arm gets."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import Field, field_validator, model_validator

from rnnlab.common.errors import UserError, nearest
from rnnlab.common.options import Options
from rnnlab.common.plugins import import_files
from rnnlab.config.config import Config
from rnnlab.config.overrides import flatten, override, read_yaml
from rnnlab.sweep.plan.arm import Arm
from rnnlab.sweep.plan.budgets import with_budget
from rnnlab.sweep.plan.equal_size import WIDTH, check_same_size, matching_width
from rnnlab.sweep.plan.outline import Outline, is_name
from rnnlab.sweep.plan.pruners import Pruner, check_pruner
from rnnlab.sweep.plan.samplers import (
    Sampler,
    check_own_space,
    check_space,
    exhaustive_points,
    planned_points,
    with_own,
)
from rnnlab.sweep.plan.space import Dimension, Point, Space
from rnnlab.sweep.plan.study import StudyPlan

FIRST_FINAL_SEED = 1000
"""Fresh seeds start this far above the sweep's seed, from which the seeds of the search count up."""


class SweepDefinition(Options):
    """A sweep as its YAML file says it; every configuration it leads to is checked when it is read."""

    name: str
    question: str = ""
    """What the sweep is to answer, in one sentence."""
    base: dict[str, Any]
    """A configuration without task and seed, which every arm starts from."""
    tasks: list[dict[str, Any]] = Field(min_length=1)
    """Each a task's fields, and under `with` dotted overrides of the base for that task."""
    arms: dict[str, Arm] = Field(min_length=1)
    """Dotted overrides of the base, by arm; an arm wins over `with`. Under `search`, hyperparameters of its own."""
    equal: Literal["width", "parameters"] = "width"
    """What arms have in common: the base's hidden size, or as nearly as can be its number of trained parameters."""
    search: dict[str, Dimension] = Field(min_length=1)
    """The nuisance hyperparameters, by dotted name: the same space for every arm."""
    trials: int | None = Field(default=None, ge=1)
    """Search trials of each arm on each task, however much it searches; grid and brute force bring their own number."""
    search_seeds: int = Field(default=1, ge=1, le=FIRST_FINAL_SEED)
    """Seeds on which every search trial is trained, the same ones in every trial; their mean objective counts."""
    seeds: int = Field(default=3, ge=1)
    """Fresh seeds on which the best point of each arm is trained again."""
    seed: int = Field(default=0, ge=0)
    sampler: Sampler = "random"
    pruner: Pruner = "none"
    workers: int = Field(default=2, ge=1)
    """Worker processes; says how fast, never what, and so is no part of the hash."""
    population: int | None = Field(default=None, ge=1)
    """Runs that a worker trains together at most; chosen by their size if none. It is no part of the hash either."""
    budgets: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """By name, other values of these fields, `base.` in front of those of the base; see `rnnlab.sweep.plan.budgets`."""
    imports: dict[str, str] = Field(default_factory=dict)
    """Python files that register what the sweep uses, with the SHA-256 of each; written as a list of files."""

    @field_validator("imports", mode="before")
    @classmethod
    def _import(cls, files: Any) -> dict[str, str]:
        return import_files(files)

    @field_validator("name")
    @classmethod
    def _check_name(cls, name: str) -> str:
        return _checked_name(name)

    @field_validator("arms")
    @classmethod
    def _check_arm_names(cls, arms: dict[str, Arm]) -> dict[str, Arm]:
        for arm in arms:
            _checked_name(arm)
        return arms

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, arm in self.arms.items():
            check_own_space(self.sampler, arm.search, f"arms.{name}.search")
        check_space(self.sampler, self.search, self.trials)
        self._check_owners()
        names = [plan.name for plan in self.studies]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(
                f"tasks: {twice.split('/')[0]} stands for two of the tasks: tasks of one sweep must differ in kind, "
                "length or variant, so put one into a sweep of its own"
            )
        self._refuse_twins()
        for plan in self.studies:
            points = [plan.checked(point, self.seed) for point in self._probing_points(plan)]
            if self.equal == "parameters":
                check_same_size(points, f"the search of arm '{plan.arm}' on {plan.task}")
        configs = (plan.config({}, self.seed) for plan in self.studies)
        check_pruner(self.pruner, self.sampler, self.search_seeds, configs)
        return self

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name everything which decides what is run."""
        data = self.model_dump(mode="json", exclude={"workers", "population", "question", "budgets"})
        data["imports"] = sorted(self.imports.values())
        # Of all that is written, two things act in their order: remedies, and dimensions from which points are drawn.
        data["order"] = {
            plan.name: [[remedy.kind for remedy in plan.config({}, self.seed).remedies], list(plan.space)]
            for plan in self.studies
        }
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:12]

    def to_yaml(self) -> str:
        """Write what was set, so that reading it again gives the same sweep."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_unset=True), sort_keys=False, allow_unicode=True)

    @property
    def search_trials(self) -> int:
        """Search trials of each study."""
        return self.trials if self.trials is not None else len(exhaustive_points(self.sampler, self.search))

    @property
    def search_runs(self) -> int:
        """Training runs in the search of each study, where no trial is ended early."""
        return self.search_trials * self.search_seeds

    @cached_property
    def studies(self) -> tuple[StudyPlan, ...]:
        """Every study of the sweep, task by task, the arms in their order."""
        plans = []
        for entry in self.tasks:
            task = {key: value for key, value in entry.items() if key != "with"}
            shared = override({**self.base, "task": task}, entry.get("with") or {})
            for name, arm in self.arms.items():
                settings = override(shared, arm.overrides)
                config = Config.parse(settings, f"arm '{name}' on task {task.get('kind')}")
                if self.equal == "parameters":
                    base = Config.parse(shared, f"the base on task {task.get('kind')}")
                    settings = override(settings, {WIDTH: matching_width(config, base)})
                plans.append(StudyPlan(config.task.label, name, settings, arm.search, self.space(name)))
        return tuple(plans)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with some fields changed, unchecked; what follows from them is worked out anew."""
        copy = super().model_copy(update=update, deep=deep)
        for kept in ("studies", "outline"):
            vars(copy).pop(kept, None)
        return copy

    @cached_property
    def outline(self) -> Outline:
        """What its progress is counted against."""
        studies = tuple(plan.key for plan in self.studies)
        numbers = self.search_trials, self.search_seeds, self.seeds
        return Outline(self.name, self.hash, studies, *numbers, self.imports, self._settings())

    def _settings(self) -> dict[str, Any]:
        """Everything that decides what is run but the numbers of trials and seeds, by dotted name."""
        data = self.model_dump(mode="json", exclude_defaults=True)
        labels = dict.fromkeys(plan.task for plan in self.studies)
        arms = {f"arms.{name}": arm for name, arm in data["arms"].items()}
        tasks = {f"tasks.{label}": task for label, task in zip(labels, data["tasks"], strict=True)}
        single = {name: getattr(self, name) for name in ("equal", "search_seeds", "seed", "sampler", "pruner")}
        search = {f"search.{name}": dimension for name, dimension in data["search"].items()}
        return {**single, **dict(flatten({"base": self.base})), **search, **arms, **tasks}

    def space(self, arm: str) -> Space:
        """Everything that is searched in an arm: the shared hyperparameters, then its own."""
        return {**self.search, **self.arms[arm].search}

    def planned_points(self, plan: StudyPlan) -> list[Point]:
        """The point of every search slot; empty where the sampler is asked when the slot is taken up."""
        shared = planned_points(self.sampler, self.search, self.search_trials, self.seed, plan.task)
        return with_own(shared, plan.own, self.seed, plan.name)

    def final_seeds(self) -> list[int]:
        """Fresh seeds, the same for every arm; the search uses `seed` and those right after it."""
        return [self.seed + FIRST_FINAL_SEED + k for k in range(self.seeds)]

    def _check_owners(self) -> None:
        """Task, seed, searched fields and, among arms of equal size, the width are set in one place each."""
        arms = [(f"arms.{name}", arm.overrides) for name, arm in self.arms.items()]
        tasks = [(f"tasks.{k}.with", entry.get("with") or {}) for k, entry in enumerate(self.tasks)]
        spaces = [("search", self.search), *((f"arms.{name}.search", arm.search) for name, arm in self.arms.items())]
        for where, changes in [("base", self.base), *arms, *tasks, *spaces]:
            if not isinstance(changes, dict):
                raise ValueError(f"{where} = {changes!r} is not a mapping of dotted names to values")
            for name in changes:
                if name.split(".")[0] in ("task", "seed"):
                    raise ValueError(f"{where}.{name}: the sweep sets task and seed itself, under 'tasks' and 'seed'")
        for where, changes in [*arms, *tasks]:
            _refuse_both(where, changes, self.search, "which the search varies")
        for name, arm in self.arms.items():
            _refuse_both(f"arms.{name}.search", arm.search, self.search, "which the search varies in every arm")
            _refuse_both(f"arms.{name}", arm.overrides, arm.search, f"which arms.{name}.search varies")
        if self.equal == "parameters":
            for where, changes in [*arms, *spaces]:
                if WIDTH in dict(flatten(changes)):
                    raise ValueError(
                        f"{where} sets {WIDTH}, which equal = 'parameters' chooses for every arm: drop it there, and "
                        "set the width to be matched in the base"
                    )

    def _refuse_twins(self) -> None:
        """Refuse an arm that is the same as another one on every task: it would cost its budget and tell nothing."""
        known: dict[str, str] = {}
        for name, arm in self.arms.items():
            hashes = [plan.config({}, self.seed).hash for plan in self.studies if plan.arm == name]
            other = known.setdefault(f"{hashes} {arm.search}", name)
            if other != name:
                raise ValueError(f"arms.{name} is the same as arms.{other} on every task: drop one of them")

    def _probing_points(self, plan: StudyPlan) -> Iterator[Point]:
        """Points that visit ends, inside and choices of every dimension, once it is known that their fields exist."""
        fields = dict(flatten(plan.config({}, self.seed).model_dump(mode="json")))
        for name in plan.space:
            if name not in fields:
                why = f"arms.{plan.arm}.search.{name}" if name in plan.own else f"search.{name}"
                whose = "" if name in plan.own else ", and the search space is the same for every arm"
                raise UserError(
                    f"{why}: arm '{plan.arm}' on {plan.task} has no such field{whose}: {nearest(name, fields)}"
                )
        first = {name: dimension.extremes()[0] for name, dimension in plan.space.items()}
        for name, dimension in plan.space.items():
            for value in dimension.probes():
                yield {**first, name: value}


def load_sweep_definition(path: str | Path, budget: str | None = None, imports: Iterable[str] = ()) -> SweepDefinition:
    """Read a sweep and check every configuration it leads to, at all of its budgets.

    Args:
        path: its YAML file.
        budget: one of the budgets it declares; its own fields as they are if none.
        imports: files to import besides those that it names.

    Raises:
        UserError: if anything in it is wrong; names the arm where it is an arm's.
    """
    data = read_yaml(path)
    if "task" in data and not {"tasks", "arms"} & data.keys():
        raise UserError(f"{path} is a single experiment, which `rnnlab run {path}` takes: a sweep has tasks and arms")
    if more := import_files(list(imports)):
        data["imports"] = import_files(data.get("imports") or []) | more
    definition = SweepDefinition.parse(data, str(path))
    sized = {name: _sized(data, path, name) for name in definition.budgets}
    return definition if budget is None else sized.get(budget) or _sized(data, path, budget)


def parse_sweep_definition(text: str, where: str) -> SweepDefinition:
    """Read a sweep that was kept when it was started, and so is known to be right at all of its budgets.

    Args:
        text: its YAML.
        where: names it in messages.

    Raises:
        UserError: if anything in it is wrong all the same.
    """
    return SweepDefinition.parse(yaml.safe_load(text), where)


def _sized(data: Mapping[str, Any], path: str | Path, budget: str) -> SweepDefinition:
    return SweepDefinition.parse(with_budget(data, budget), f"{path} --budget {budget}")


def _checked_name(name: str) -> str:
    if not is_name(name):
        raise ValueError(f"name {name!r} is not allowed: use up to 80 letters, digits and . _ - +, and no dot in front")
    return name


def _refuse_both(where: str, changes: Mapping[str, Any], others: Mapping[str, Any], why: str) -> None:
    if both := sorted(set(changes) & set(others)):
        raise ValueError(f"{where} fixes {both[0]}, {why}: drop one of them")
