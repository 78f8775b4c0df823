"""What the measures foretell, as a page whose sentences follow from the numbers."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from rnnlab.common.text import listing, markdown_table, number, whole
from rnnlab.statistics.foretelling import OWN_RATE, baseline_table, foretelling_table
from rnnlab.statistics.gradient_health import EARLY

from .again import MOMENTS
from .cast import CANNOT
from .measures import MEASURES, SAID

TOGETHER = "all together"
WHERE = {
    "arms": "on arms that were left out",
    "tasks": "on tasks that were left out",
    "within": "among runs of the same arm and task, which differ in their seed alone",
}
INTRO = """# Does gradient health predict success?

{short}

Written by `python -m experiments.ablation`; every sentence follows from the numbers by the rules in
`experiments/ablation/page.py`. It says what foretells, not what causes; what is left of the gradient at the *end* of
training stands beside what is solved [on the page of distances](distances.md#was-it-the-gradient).

The runs are the first {seeds} of the fresh seeds of every arm on every task of the [ablation](distances.md): {runs}
runs of {arms} arms on {tasks} tasks ({named}). Each was trained again from its configuration, which gives the same run,
up to {early} of its updates, and its gradient was measured on a fresh batch before the first update and then. {solved}
of them solved their task, and {mixed} of the tasks have runs of both outcomes, without which there is nothing to
foretell. Left out: {cannot}.

{measures}

AUC is the chance that of two runs on the same task, one that solved it and one that did not, the measure gives the
first the better score: 1 is foresight, 0.5 chance. Measures are ranked within each task, and which end of a measure is
the good one is learnt from other arms (or other tasks) than those that are judged; *all together* is a linear
regression. Intervals are 95%, by a bootstrap over whole arms in which everything is learnt anew, and so reach below 0.5
where the arms drawn teach the wrong end. They are in **bold** where they exclude chance.
"""
BELOW = """*Missing*: runs in which the measure does not exist. *Good end*: the one that all runs together teach.
*Gain*: AUC on tasks left out, less that of knowing how often the arm solves the other tasks; above 0 the measure knows
more. The other arms' rate on the task is the same for all runs of a task and can tell none of them apart: 0.5.
"""


def judge(table: pd.DataFrame) -> pd.DataFrame:
    """Judge every measure at both moments, and all of each moment together.

    Args:
        table: the measured runs, with the columns of `experiments.ablation.again`.

    Returns:
        The rows of `rnnlab.statistics.foretelling.foretelling_table`, with columns measure and moment.
    """
    known = {str(c) for c in table.columns[table.notna().any().to_numpy(bool)]}
    columns = {(name, moment): [f"{key}_{moment}"] for moment in MOMENTS for key, name in MEASURES.items()}
    columns |= {(TOGETHER, moment): [f"{key}_{moment}" for key in MEASURES] for moment in MOMENTS}
    columns = {key: present for key, each in columns.items() if (present := [c for c in each if c in known])}
    judged = foretelling_table(table, {" ".join(key): each for key, each in columns.items()})
    return judged.assign(measure=[key[0] for key in columns], moment=[key[1] for key in columns])


def baselines(table: pd.DataFrame) -> pd.DataFrame:
    """What the measures have to beat, in the same columns."""
    beaten = baseline_table(table)
    return beaten.assign(measure=beaten["predictor"], moment="")


def page(table: pd.DataFrame, judged: pd.DataFrame, beaten: pd.DataFrame) -> str:
    """The whole page as Markdown."""
    header = [
        "measure", "when", "runs", "missing", "good end", "AUC, arms left out", "AUC, tasks left out",
        "AUC, seeds of one arm", "gain over the arm's own rate",
    ]  # fmt: skip
    rows = [_line(row) for row in [*judged.to_dict("records"), *beaten.to_dict("records")]]
    sentences = "\n".join(f"* {sentence}" for sentence in verdict(table, judged, beaten))
    parts = [_intro(table, judged, beaten), markdown_table([header, *rows]), "", BELOW, "![AUC by measure](health.png)"]
    caption = (
        "*A point and its interval to the right of the black line foretell. The dashed line is what knowing the arm "
        "reaches on tasks left out, and is for those points alone.*"
    )
    return "\n".join([*parts, "", caption, "", "## Verdict", "", sentences, ""])


def _intro(table: pd.DataFrame, judged: pd.DataFrame, beaten: pd.DataFrame) -> str:
    counts = {name: table[column].nunique() for name, column in (("arms", "arm"), ("tasks", "task"))}
    return INTRO.format(
        short="\n".join(f"* **{sentence}**" for sentence in in_short(judged, beaten)),
        seeds=table.groupby(["task", "arm"])["seed"].nunique().max(),
        early=f"{EARLY:.0%}",
        runs=len(table),
        named=listing(list(dict.fromkeys(table["task"]))),
        solved=f"{table['solved'].astype(bool).mean():.0%}",
        mixed=table.groupby("task")["solved"].nunique().eq(2).sum(),
        cannot="; ".join(f"{arm} on {kind}, which is {why}" for (arm, kind), why in CANNOT.items()),
        measures=markdown_table([["Measure", "In a sentence"], *([MEASURES[key], SAID[key]] for key in MEASURES)]),
        **counts,
    )


def in_short(judged: pd.DataFrame, beaten: pd.DataFrame) -> list[str]:
    """The answer: of an arm, of a seed, and beside what is known without a gradient."""
    together = judged.loc[judged["measure"] == TOGETHER].to_dict("records")
    (rate,) = (row for row in beaten.to_dict("records") if row["measure"] == OWN_RATE)
    does = {1: "yes", 0: "not told from chance", -1: "the wrong way round", None: "too few arms to tell"}
    found = []
    for asked, setting in (("Which arm will solve a task it has not been seen on", "tasks"), ("Which seed", "within")):
        said = (f"{MOMENTS[row['moment']]} {does[_side(row, setting)]} ({_estimate(row, setting)})" for row in together)
        found.append(f"{asked}, by all measures together: {'; '.join(said)}.")
    more = [row for row in judged.to_dict("records") if _side(row, "gain", chance=0.0) == 1]
    found.append(
        f"Knowing how often the arm solves other tasks gives {_estimate(rate, 'tasks')}; measures that give more: "
        f"{listing([str(row['measure']) for row in more]) or 'none'}."
    )
    return found


def verdict(table: pd.DataFrame, judged: pd.DataFrame, beaten: pd.DataFrame) -> list[str]:
    """What holds and what does not, in sentences."""
    is_all = judged["measure"].eq(TOGETHER)
    single, together = judged.loc[~is_all], judged.loc[is_all]
    found = [_answer(together, setting) for setting in WHERE]
    found += [_by_measure(single.loc[single["moment"] == m], s) for s in WHERE for m in MOMENTS]
    return [*found, *_against_baseline(judged, beaten), _by_chance(single), *_ties(table), *_twins(table)]


def _answer(together: pd.DataFrame, setting: str) -> str:
    """Whether all measures together foretell success."""
    parts = []
    for row in together.to_dict("records"):
        does = {
            1: "foretell success",
            0: "cannot be told from chance",
            -1: "foretell it the wrong way round",
            None: "have too few arms to tell",
        }
        parts.append(f"{MOMENTS[row['moment']]} they {does[_side(row, setting)]} (AUC {_estimate(row, setting)})")
    return f"All measures together, {WHERE[setting]}: {'; '.join(parts)}."


def _by_measure(rows: pd.DataFrame, setting: str) -> str:
    """Which measures foretell success in one setting, from the best down."""
    kinds: dict[int | None, list[str]] = {1: [], -1: [], 0: [], None: []}
    for row in rows.sort_values(setting, ascending=False).to_dict("records"):
        kinds[_side(row, setting)].append(f"{row['measure']} ({number(row[setting], 2)})")
    said = {1: "foretold by", -1: "foretold the wrong way round by", 0: "not told from chance by"}
    said = said | {None: "judged on too few arms for an interval by"}
    parts = [f"{said[kind]} {', '.join(names)}" for kind, names in kinds.items() if names]
    when = MOMENTS[rows["moment"].iloc[0]]
    return f"{WHERE[setting].capitalize()}, measured {when}, success is {'; '.join(parts)}."


def _against_baseline(judged: pd.DataFrame, beaten: pd.DataFrame) -> list[str]:
    """Whether any measure knows more of a task than how its arm does elsewhere."""
    rate = next(row for row in beaten.to_dict("records") if row["measure"] == OWN_RATE)
    kinds: dict[int | None, list[str]] = {1: [], 0: [], -1: [], None: []}
    for row in judged.to_dict("records"):
        kinds[_side(row, "gain", chance=0.0)].append(f"{row['measure']} {MOMENTS[row['moment']]}")
    if len(kinds[None]) == len(judged):
        return []
    better = f"better are {', '.join(kinds[1])}" if kinds[1] else "no measure, alone or together, is better"
    return [
        f"An arm's own success rate on other tasks reaches {_estimate(rate, 'tasks')} on a task that was left out: "
        f"{better}; {len(kinds[0])} cannot be told from it, {len(kinds[-1])} are worse."
    ]


def _by_chance(single: pd.DataFrame) -> str:
    """How many intervals would miss 0.5 by luck."""
    sides = [_side(row, setting) for row in single.to_dict("records") for setting in WHERE]
    judged, missed = (sum(side in kinds for side in sides) for kinds in ((-1, 0, 1), (-1, 1)))
    return (
        f"Of {judged} intervals of single measures, which are not independent, {missed} exclude 0.5; if none of them "
        f"told anything, about {whole(judged / 20)} would."
    )


def _ties(table: pd.DataFrame) -> list[str]:
    """Which measures hardly tell runs of one task apart, since most have the same value."""
    found = []
    for moment, when in MOMENTS.items():
        for key, name in MEASURES.items():
            values = table.groupby("task")[f"{key}_{moment}"]
            share = float(np.nanmean([v.value_counts(normalize=True).max() for _, v in values]))
            if share > 0.5:
                found.append(f"{name} {when} ({share:.0%})")
    return [f"Most runs of a task share one value of {', '.join(found)}: it can tell little."] if found else []


def _twins(table: pd.DataFrame) -> list[str]:
    """How many arms begin as the network of another one, so that they are no evidence of their own at that moment."""
    measured = [f"{key}_init" for key in MEASURES]
    alike = table.duplicated(["task", "seed", *measured], keep=False)
    arms = sorted(table.loc[alike].groupby("arm").size().index)
    if not arms:
        return []
    return [
        f"{', '.join(arms)} begin as the same networks as one another, and differ in what happens to the gradient: "
        f"intervals over arms are narrower than they should be {MOMENTS['init']}."
    ]


def _side(row: dict[Any, Any], setting: str, chance: float = 0.5) -> int | None:
    """1 where the whole interval lies above chance, -1 below, else 0; none without an interval."""
    if math.isnan(row[f"{setting}_low"]):
        return None
    return int(row[f"{setting}_low"] > chance) - int(row[f"{setting}_high"] < chance)


def _estimate(row: dict[Any, Any], setting: str) -> str:
    value, low, high = (float(row[f"{setting}{bound}"]) for bound in ("", "_low", "_high"))
    if math.isnan(value):
        return "–"
    return f"{value:.2f}" if math.isnan(low) or low == high else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def _bold(row: dict[Any, Any], setting: str, chance: float = 0.5) -> str:
    told = _side(row, setting, chance) and row[f"{setting}_low"] < row[f"{setting}_high"]
    return f"**{_estimate(row, setting)}**" if told else _estimate(row, setting)


def _line(row: dict[Any, Any]) -> Sequence[str]:
    better = {1.0: "larger", -1.0: "smaller"}.get(row["sign"], "")
    settings = [_bold(row, setting) for setting in WHERE] + [_bold(row, "gain", chance=0.0)]
    return [row["measure"], MOMENTS.get(row["moment"], ""), str(row["runs"]), str(row["missing"]), better, *settings]
