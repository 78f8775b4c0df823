"""What a published result is: a frozen value that says what is run, what must hold, and what is broken on purpose."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from rnnlab.common.text import listing
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.reproductions.criteria import Criterion, Findings, Values
from rnnlab.training.result import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Source = Literal["the paper", "the authors' code", "the paper's figure", "recollection", "a derivation"]
"""Where the published number was read."""
ALL = "all"
"""In the place of an arm: every arm."""


@dataclass(frozen=True)
class Experiment(ABC):
    """What is run for every arm and seed.

    Attributes:
        arms: by name, dotted overrides of the base.
        base: what all arms have in common.
    """

    arms: Mapping[str, Mapping[str, Any]]
    base: Mapping[str, Any]

    def settings(self, arm: str, seed: int) -> dict[str, Any]:
        """Everything that decides what one run is."""
        return override({**self.base, "seed": seed}, self.arms[arm])

    def changed(self, changes: Mapping[str, Mapping[str, Any]]) -> Self:
        """The same with dotted overrides laid over single arms, or over `all` of them."""
        for arm in changes:
            assert arm in (ALL, *self.arms), arm
        arms = {name: {**own, **changes.get(ALL, {}), **changes.get(name, {})} for name, own in self.arms.items()}
        return replace(self, arms=arms)

    @property
    @abstractmethod
    def measure(self) -> Callable[..., Values]:
        """The function that gives the values."""

    def hash(self, arm: str, seed: int) -> str:
        """Twelve hexadecimal digits that name one run by what its author has set; see also `doubts`, which runs it."""
        text = json.dumps(self.settings(arm, seed), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Training(Experiment):
    """Ordinary runs.

    Attributes:
        read: takes the values out of a result.
    """

    read: Callable[[Result], Values]

    @property
    def measure(self) -> Callable[..., Values]:
        return self.read

    def config(self, arm: str, seed: int) -> Config:
        """The configuration of one run."""
        return Config.parse(self.settings(arm, seed), f"arm '{arm}'")


@dataclass(frozen=True)
class Computation(Experiment):
    """Something that is computed without an experiment of the command line, such as a profile or a descent of its own.

    Attributes:
        compute: gets the seed and the settings of an arm by name, and gives the values.
    """

    compute: Callable[..., Values]

    @property
    def measure(self) -> Callable[..., Values]:
        return self.compute


@dataclass(frozen=True)
class Fault:
    """Something that is broken on purpose; the verdict must change.

    Attributes:
        name: in words.
        changes: dotted overrides by arm, or for `all` of them.
    """

    name: str
    changes: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Reproduction:
    """One published result.

    Attributes:
        name: what the command line calls it.
        claim: one sentence.
        paper: authors and year, and title.
        place: table, figure or equation.
        source: where the number was read.
        experiment: what is run.
        criteria: what must hold; all of it together is the claim.
        seeds: how many runs of every arm decide.
        minutes: processor time that all of it takes, as measured; at full scale from the time of single updates.
        scaled_down: what is smaller than in the paper, in words; empty where nothing is.
        faults: at least one; each of them must change the verdict.
        reduced: overrides by arm with which faults are tried in minutes; the whole size where there are none.
        draw: the figure that corresponds to the paper's.
        first_seed: settings were chosen on seeds below it.
        full_scale: too long for two cores: run only when it is asked for by its name.
    """

    name: str
    claim: str
    paper: str
    place: str
    source: Source
    experiment: Experiment
    criteria: tuple[Criterion, ...]
    seeds: int
    minutes: float
    faults: tuple[Fault, ...]
    draw: "Callable[[Findings], Axes]"
    scaled_down: str = ""
    reduced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    first_seed: int = 1000
    full_scale: bool = False

    @property
    def kind(self) -> str:
        """Of what kind its criteria are."""
        return listing(list(dict.fromkeys(criterion.kind for criterion in self.criteria)))

    @property
    def runs(self) -> list[tuple[str, int]]:
        """Arm and seed of every run, seed by seed, so that what is there at any time can be compared."""
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        return [(arm, seed) for seed in seeds for arm in self.experiment.arms]

    def changed(self, changes: Mapping[str, Mapping[str, Any]]) -> Self:
        """The same result of a changed experiment."""
        return replace(self, experiment=self.experiment.changed(changes))

    def at_reduced_size(self) -> Self:
        """The same, made small for a test of its verdict."""
        return self.changed(self.reduced)


def final_values(result: Result) -> Values:
    """What most results ask of a run: its loss and score at the end, updates done, and the validation curve.

    A run that diverged has the objective of one, which is finite and worse than the trivial baseline.
    """
    curve = result.history.get("val/loss")
    score = result.history.get(f"val/{result.config.task.score_name}")
    return {
        "loss": result.objective if result.outcome == "diverged" else result.test_loss,
        "error": 1.0 if result.outcome == "diverged" else 1 - result.test_score,
        "relative_loss": (result.objective if result.outcome == "diverged" else result.test_loss)
        / result.config.task.baseline.loss,
        "updates": float(result.steps),
        "curve_steps": [float(step) for step in curve.steps] if curve else [],
        "curve": list(curve.values) if curve else [],
        "score_curve": list(score.values) if score else [],
    }
