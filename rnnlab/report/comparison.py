"""Two sweeps held against each other: everything that is worked out, once, for page, terminal and programs alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from rnnlab.common.errors import UserError, nearest
from rnnlab.common.text import chance, count, listing
from rnnlab.report.report import StoredSweep, read_sweep
from rnnlab.statistics.ablation import has_failed, has_result, natural
from rnnlab.statistics.comparisons import SIGNIFICANT, least_p
from rnnlab.statistics.two_sweeps import A, B, contrast_table, repeats_table, sides_table
from rnnlab.sweep.plan.differences import Difference, differences
from rnnlab.tracking.reader import load_provenance
from rnnlab.tracking.store import shown

MADE_BY = {
    "git_commit": "commit",
    "version": "rnnlab",
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "optuna": "optuna",
    "cpu": "processor",
}
"""What made a run, as a reader calls it."""


@dataclass(frozen=True)
class Side:
    """One of two sweeps.

    Attributes:
        name: of the sweep.
        arm: the only one of its arms that is looked at, if one was named.
        store: MLflow tracking URI of another store than that in use, if it lies there.
        sweep: its definition and its runs, all of them.
        made_by: code, versions and processors of its runs, by name.
    """

    name: str
    arm: str | None
    store: str | None
    sweep: StoredSweep
    made_by: dict[str, list[str]]

    @property
    def shown(self) -> str:
        return f"{self.name}/{self.arm}" if self.arm else self.name

    @property
    def where(self) -> str:
        """What it is called, and where it lies if that has to be said."""
        return f"{self.shown} in {shown(self.store)}" if self.store else self.shown

    @property
    def arms(self) -> list[str]:
        """Arms that are looked at."""
        return [self.arm] if self.arm else list(self.sweep.definition.arms)


@dataclass(frozen=True)
class Comparison:
    """Two sweeps and what they come to beside each other.

    Attributes:
        a: the one.
        b: the other, better where differences are above zero.
        runs: the runs of both that are compared; an arm has the same name in both.
        sides: from `sides_table`.
        contrasts: from `contrast_table`.
        repeats: from `repeats_table`.
        differences: settings that they do not share.
        cautions: what weakens the comparison, in Markdown.
    """

    a: Side
    b: Side
    runs: tuple[pd.DataFrame, pd.DataFrame]
    sides: pd.DataFrame
    contrasts: pd.DataFrame
    repeats: pd.DataFrame
    differences: list[Difference]
    cautions: list[str]

    @property
    def changed(self) -> pd.DataFrame:
        """Runs of the same configuration that came to another result."""
        return self.repeats.loc[self.repeats["differs"].map(len) > 0]

    @property
    def made_by(self) -> list[tuple[str, str, str]]:
        """Code, versions and processors of both, by name."""
        a, b = self.a.made_by, self.b.made_by
        return [(shown, listing(a[key]) or "–", listing(b[key]) or "–") for key, shown in MADE_BY.items()]


def compare(a: str, b: str, uri: str, other_uri: str) -> Comparison:
    """Hold one sweep against another.

    Args:
        a: name of a sweep, or one of its arms as SWEEP/ARM.
        b: the same of the other.
        uri: MLflow tracking URI of the store that holds the one.
        other_uri: of the store that holds the other.

    Raises:
        UserError: if a sweep or an arm is unknown, has no final result yet, or the two have nothing in common.
    """
    if (a, uri) == (b, other_uri):
        raise UserError(f"'{a}' stands on both sides: name two sweeps, or two arms as SWEEP/ARM")
    one, other = _side(a, uri), _side(b, other_uri, elsewhere=uri != other_uri)
    arms = _paired(one, other)
    labels = {x: x if x == y else f"{x} / {y}" for x, y in arms.items()}
    both = (
        _chosen(one.sweep.runs, labels),
        _chosen(other.sweep.runs, {arms[x]: label for x, label in labels.items()}),
    )
    contrasts = contrast_table(*both)
    if contrasts.empty:
        raise UserError(
            f"{one.shown} and {other.shown} have results of no arm on one task in common: {_has(one)}, {_has(other)}; "
            "arms of different names are named each, as SWEEP/ARM"
        )
    sides = sides_table(*both)
    met = set(zip(contrasts["task"], contrasts["arm"], strict=True))
    sides = sides.loc[[pair in met for pair in zip(sides["task"], sides["arm"], strict=True)]]
    unlike = differences(one.sweep.definition, other.sweep.definition, arms)
    cautions = _cautions(one, other, sides, contrasts, unlike)
    return Comparison(one, other, both, sides, contrasts, repeats_table(*both), unlike, cautions)


def _side(text: str, uri: str, elsewhere: bool = False) -> Side:
    """Read a sweep that is given as SWEEP or SWEEP/ARM."""
    name, _, arm = text.partition("/")
    sweep = read_sweep(name, uri)
    return Side(name, arm or None, uri if elsewhere else None, sweep, load_provenance(name, sweep.runs, uri))


def _paired(one: Side, other: Side) -> dict[str, str]:
    """Which arm of the other each arm of the one is held against: one that was named, else that of its name."""
    known = [list(side.sweep.definition.arms) for side in (one, other)]
    if not (one.arm or other.arm):
        return {arm: arm for arm in known[0] if arm in known[1]}
    pair = one.arm or other.arm or "", other.arm or one.arm or ""
    for side, arm, arms in zip((one, other), pair, known, strict=True):
        if arm not in arms:
            raise UserError(f"sweep '{side.name}' has no arm '{arm}': {nearest(arm, arms)}")
    return dict([pair])


def _chosen(runs: pd.DataFrame, labels: dict[str, str]) -> pd.DataFrame:
    """The runs of some arms, under the names that both sweeps share."""
    runs = runs.loc[runs["arm"].isin(list(labels))]
    return runs.assign(arm=[labels[arm] for arm in runs["arm"]])


def _has(side: Side) -> str:
    return f"{side.name} has {listing(side.arms)} on {listing(sorted(set(side.sweep.runs['task']), key=natural))}"


def _cautions(
    one: Side, other: Side, sides: pd.DataFrame, contrasts: pd.DataFrame, unlike: Sequence[Difference]
) -> list[str]:
    """What weakens a comparison, the gravest first."""
    tasks = [d for d in unlike if d.name.startswith("task.")]
    named = listing([f"{d.name} ({d.a} and {d.b}, {d.where})" for d in tasks])
    found = [f"Not the same task, though its name is: {named}. Scores do not measure the same."] if tasks else []
    found += [_unfinished(letter, side) for letter, side in ((A, one), (B, other))]
    return [text for text in [*found, _power(contrasts), _left_out(sides, contrasts)] if text]


def _unfinished(letter: str, side: Side) -> str:
    """How many fresh seeds of the arms that are looked at are still to come."""
    runs, definition = side.sweep.runs, side.sweep.definition
    final = runs.loc[(runs["phase"] == "final") & runs["arm"].isin(side.arms)]
    ended = int((has_result(final) | has_failed(final)).to_numpy().sum())
    planned = len(definition.tasks) * len(side.arms) * definition.seeds
    if ended >= planned:
        return ""
    return (
        f"{letter} is not finished: {planned - ended} of its {count(planned, 'run')} on fresh seeds have no result; "
        "what has one is compared."
    )


def _power(contrasts: pd.DataFrame) -> str:
    """Where the seeds are too few to show any difference."""
    paired = contrasts.loc[contrasts["paired"].astype(bool)]
    tests = contrasts.groupby("task")["arm"].transform("size").loc[paired.index]
    bounds = [least_p(n, k) for n, k in zip(paired["runs"], tests, strict=True)]
    if not bounds or min(bounds) < SIGNIFICANT:
        return ""
    return (
        f"The shared seeds cannot show any difference, however large: winning on every one of them gives p = "
        f"{chance(min(bounds))} at best after correction. Give both sweeps more seeds: they grow."
    )


def _left_out(sides: pd.DataFrame, contrasts: pd.DataFrame) -> str:
    """Where mean scores are of more seeds than differences."""
    compared = {(row["task"], row["arm"]): row["runs"] for row in contrasts.to_dict("records") if row["paired"]}
    rows = [(compared.get((row["task"], row["arm"])), row["seeds"]) for row in sides.to_dict("records")]
    if all(shared in (None, seeds) for shared, seeds in rows):
        return ""
    return (
        "One sweep has more fresh seeds than the other: differences are over those that both have, scores of A and B "
        "over all of each, so that the two need not point the same way."
    )
