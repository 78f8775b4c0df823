"""What weakens a sweep's conclusions: found in its runs, told to the reader before anything else."""

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd

from rnnlab.common.text import count, listing
from rnnlab.statistics.ablation import results, task_of
from rnnlab.sweep.plan.definition import SweepDefinition
from rnnlab.sweep.plan.factors import searched
from rnnlab.sweep.plan.outline import Planning
from rnnlab.sweep.plan.space import Dimension
from rnnlab.sweep.show.power import power
from rnnlab.tracking.provenance import named_code

FEW_SEEDS = 5
"""Below this many seeds a bootstrap interval is far from covering what it says."""
HALF = 0.5
"""Share of an arm's runs above which something holds for most of them."""
EDGE = 0.05
"""Share of a search range, on its own scale, that counts as its edge."""


def cautions(
    runs: pd.DataFrame, table: pd.DataFrame, definition: SweepDefinition, history: Sequence[Planning] = ()
) -> list[str]:
    """List everything about a sweep that a reader of its table has to know.

    Args:
        runs: from `rnnlab.tracking.reader.load_sweep`.
        table: from `ablation_table`.
        definition: what was planned.
        history: how it came to that plan.

    Returns:
        Sentences in Markdown, the gravest first; none if there is nothing to say.
    """
    found = [
        _unreached(table, definition),
        _unfinished(table, definition),
        _cases(table, "failed", "Final runs that failed, which count with the worst score of the task"),
        _cases(table, "search_failed", "Search trials that failed"),
        _cases(table, "diverged", "Final runs that diverged"),
        _cases(table, "search_diverged", "Search trials that diverged"),
        _few_seeds(table),
        _power(table, definition),
        *_edges(runs, definition),
        _bent(table),
        _mixed(runs),
        _repeats(runs),
        _growth(history),
        _code(runs),
    ]
    return [sentence for sentence in found if sentence]


def _unreached(table: pd.DataFrame, definition: SweepDefinition) -> str:
    """Tasks that are planned, and that no arm has a final result on."""
    missing = dict.fromkeys(plan.task for plan in definition.studies if plan.task not in set(table["task"]))
    return f"Planned and not run to a result in any arm: {listing(list(missing))}." if missing else ""


def _unfinished(table: pd.DataFrame, definition: SweepDefinition) -> str:
    """Studies that lack search trials or final runs, on tasks that others have."""
    have = {f"{row['task']}/{row['arm']}": row for row in table.to_dict("records")}
    missing = []
    for plan in (plan for plan in definition.studies if plan.task in set(table["task"])):
        if plan.name not in have:
            missing.append(f"{plan.name} (everything)")
            continue
        row = have[plan.name]
        search = definition.search_trials - row["search_done"] - row["search_failed"]
        final = definition.seeds - row["seeds"]
        lacks = [count(n, noun) for n, noun in ((search, "search trial"), (final, "final run")) if n > 0]
        missing += [f"{plan.name} ({listing(lacks)})"] if lacks else []
    return f"Not finished, so arms are not comparable yet; missing: {listing(missing)}." if missing else ""


def _cases(table: pd.DataFrame, column: str, what: str) -> str:
    """Rows in which something happened, with how often."""
    rows = table.loc[table[column] > 0]
    cases = [f"{task}/{arm} ({n})" for task, arm, n in zip(rows["task"], rows["arm"], rows[column], strict=True)]
    return f"{what}: {listing(cases)}." if cases else ""


def _few_seeds(table: pd.DataFrame) -> str:
    seeds = table.loc[table["seeds"].between(1, FEW_SEEDS - 1), "seeds"]
    if seeds.empty:
        return ""
    return (
        f"Few seeds ({' to '.join(map(str, sorted({seeds.min(), seeds.max()})))} an arm): a bootstrap over so few "
        "covers the true mean less often than it says, over 3 values in about 3 of 4 cases. Read the intervals as the "
        "least uncertainty."
    )


def _power(table: pd.DataFrame, definition: SweepDefinition) -> str:
    """Whether the corrected test could show a difference from the plain arm, or else between any two, at all."""
    seeds = int(table["seeds"].to_numpy(int).max())
    enough, sentence = power(definition, len(set(table["arm"])), seeds)
    if enough:
        return ""
    return (
        f"{sentence} Raise `seeds` in the file of the sweep and give the command that started it again, `rnnlab sweep "
        "FILE`: what is finished stays, and only the new seeds are run."
    )


def _edges(runs: pd.DataFrame, definition: SweepDefinition) -> list[str]:
    """Tuned values at an end of their range, beyond which a better one may lie."""
    one_each = runs.query("phase == 'final'").sort_values(["task", "arm"]).drop_duplicates(["task", "arm"])
    final = one_each.to_dict("records")
    sentences = []
    for name in searched(definition):
        column = f"param.{name}"
        for side in ("lower", "upper"):
            studies = [
                f"{run['task']}/{run['arm']} ({run[column]:g})"
                for run in final
                if name in (space := definition.space(run["arm"])) and _edge(run[column], space[name]) == side
            ]
            if studies:
                sentences.append(
                    f"The tuned {name} lies at the {side} edge of its range, so a better one may lie outside: "
                    f"{listing(studies)}."
                )
    return sentences


def _edge(value: Any, dimension: Dimension) -> str | None:
    """At which end of its range a value lies, if at any; two choices, or choices that are no numbers, are no range."""
    ends = dimension.extremes()
    numbers = all(isinstance(x, int | float) and not isinstance(x, bool) for x in (value, *ends))
    if not numbers or (dimension.choices is not None and len(dimension.choices) < 3):
        return None
    log = dimension.log or (dimension.choices is not None and min(ends) > 0)
    low, high, at = (math.log(x) if log else x for x in (min(ends), max(ends), value))
    share = (at - low) / (high - low)
    return "lower" if share <= EDGE else "upper" if share >= 1 - EDGE else None


def _bent(table: pd.DataFrame) -> str:
    """Arms whose gradient does not decay at one rate."""
    rows = table.loc[table["decay_bent"] > HALF]
    arms = [
        f"{task}/{arm} (R² {r2:.2f})" for task, arm, r2 in zip(rows["task"], rows["arm"], rows["decay_r2"], strict=True)
    ]
    return (
        "Against lag the gradient at the end of training is bent in most runs, so that no single decay rate tells it: "
        f"{listing(arms)}."
        if arms
        else ""
    )


def _mixed(runs: pd.DataFrame) -> str:
    """Tasks whose losses at every step leave no decay to be fitted."""
    final = runs.loc[(runs["phase"] == "final") & runs["decay_rate"].isna()].drop_duplicates("task")
    tasks = [row["task"] for _, row in final.iterrows() if task_of(row).answers == "every"]
    return (
        f"No decay rate is shown of {listing(tasks)}: with a loss at every step the gradient is a sum of answers of "
        "all ages. `recording: {probes: [lagged]}` in the definition measures that of single answers."
        if tasks
        else ""
    )


def _repeats(runs: pd.DataFrame) -> str:
    """Final runs of one arm that share a seed, each of which would count."""
    ended = results(runs)
    twice = ended.loc[ended.duplicated(["task", "arm", "seed"])].drop_duplicates(["task", "arm"])
    studies = [f"{task}/{arm}" for task, arm in zip(twice["task"], twice["arm"], strict=True)]
    return f"More than one final run of the same seed: {listing(studies)}." if studies else ""


def _growth(history: Sequence[Planning]) -> str:
    """What was added to the plan after the first start, when and by which code."""
    steps = [f"{step.when} UTC at {named_code([step.commit])}: {step.added}" for step in history if step.added]
    if not steps:
        return ""
    first = history[0]
    peeked = any("fresh seed" in step.added for step in history)
    return (
        f"The sweep was begun {first.when} UTC at {named_code([first.commit])} and has grown since: {'; '.join(steps)}."
        " What was finished before has not been run again."
        + " Where seeds are added because of what the first ones showed, p-values come out too small."
        * peeked
    )


def _code(runs: pd.DataFrame) -> str:
    """Whether one state of the code made all runs."""
    commits = sorted(set(runs["git_commit"]))
    if len(commits) > 1:
        return f"The runs come from {len(commits)} states of the code: {listing(commits)}."
    if commits and commits[0].endswith("-dirty"):
        return "The code had uncommitted changes, so its commit alone does not reproduce the runs."
    return ""
