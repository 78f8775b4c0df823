"""Every arm at every distance, from the tables of all sittings of the ablation."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rnnlab.common.errors import UserError
from rnnlab.common.files import write_whole
from rnnlab.common.text import listing, markdown_table, number
from rnnlab.plots import save
from rnnlab.plots.matrix import draw_matrix
from rnnlab.report.figures import GLANCES
from rnnlab.statistics.arms_by_task import HALF, reach_by_kind

from .cast import CANNOT, TASKS, arm_cells, task_cells
from .folklore import folklore_cells, held_against, least_lead
from .kept import draw_kept, kept_table, sentences

COLUMNS = {
    "solved": ["solved_fraction", "solved_low", "solved_high"],
    "steps_to_solve": ["steps_to_solve", "steps_low", "steps_high"],
    "decay_rate_init": ["decay_rate_init"],
    "decay_rate": ["decay_rate"],
}
"""What is drawn, and where it stands in a report's table of arms."""
INTRO = """# Every arm at every distance

Written by `python -m experiments.ablation` from the reports of its sittings: {sittings}. Whether the state of the
gradient foretells who will solve a task is judged on [another page](health.md).

{tasks}

{arms}

All have about as many parameters ({parameters}), {budget:g} updates of Adam, and a learning rate chosen among eight
on one seed; then come {seeds} fresh seeds. That is a small budget: with more updates or units
[copying](../../reproductions.md#arjovsky-copying), [an identity start](../../reproductions.md#le-irnn-adding) and
[Ω](../../reproductions.md#pascanu-penalty) succeed where they fail here.

## How far each arm gets

Lengths that at least half of the fresh seeds solve, with no shorter one missing; in brackets those beyond a gap.
Empty where the arm cannot express the task: {cannot}.
"""
CAVEATS = """## What was not equal, and what it does

* **Rates.** Hyperband, which stops trials that lag behind, let the search of an arm on a task run {spent:.0%} of its
  updates in the middle case. Typically four of the eight rates were trained to the end and the others to 50 or 150
  updates, where a task with a plateau shows nothing yet. Where nothing is solved in the search the rate is a choice
  among equals: in {untuned} of {cells} cases no fresh seed solves the task. In {edges} cases the rate is an end of
  the range, which may mean that a better one lies beyond.
* **Solved** is a criterion met once, at one of 20 looks at the validation set, after which training stops. On digits
  the set has but 300 images and the criterion lies where many arms end: {digits}.
* **What an arm is told.** Chrono biases know the length of the task; spans, dilations and windows are the same for
  all lengths. Flossing has 100 updates of its own before training, which are not counted.
* **What is not combined.** Only `clip` and `omega` are clipped. Where an identity start or residual connections keep
  the gradient, runs explode instead (adding over 200 steps), which clipping might mend. Chrono biases were given to
  the LSTM alone.
* **The plain arm** begins as torch does, with a spectral radius near 0.58, which alone makes its gradient lose 0.24
  decades a step.
"""
FOLKLORE = """## What is said of it, held against the table

How many of the {seeds} fresh seeds of two arms solve each task, by rising length. In **bold** where Fisher's exact
test tells them apart at the 5% level, with Holm's correction over all {tests} comparisons of the table in which
either arm solves anything; of two arms of which one solves nothing the other must solve {lead} to be told apart. A
saying about ReLU, gates or Ω that speaks of the gradient is judged here by what is learned; the gradient itself
stands in the figures above.

The sayings were written down when the results up to 100 steps were known and those of 200 were not. Three were put
right when all was known, since the comparison was not what they say: the GRU is held against the LSTM and the
identity start against ReLU, not against tanh, and the correction spans the whole table, not each saying alone.
"""
KEPT = """## Was it the gradient?

![What is left of the gradient over a whole sequence, and the share of seeds that solve the task](distances-kept.png)

*A point for every arm on every task whose slope is known, larger for longer tasks: slope times length, in decades,
before training and at the last recorded step, 25 at most. Shaded: less than 3 decades lost. The slope of LSTMs is
that of h, not of the cell state.*
"""
UNLUCKY = 0.3
"""Difference in the share solved from which a shorter task that is solved less often is spoken of."""


def read_sittings(folder: Path) -> pd.DataFrame:
    """Read the tables of arms that reports have left in a folder, and in the folders within it.

    Args:
        folder: the report of the ablation; that of a second sitting in a folder within it.

    Returns:
        A row for every arm on every task that it can express, with a column `sitting`, the folder of its report
        relative to `folder`.

    Raises:
        UserError: if there is no such table.
    """
    paths = sorted([*folder.glob("ablation.csv"), *folder.glob("*/ablation.csv")])
    if not paths:
        raise UserError(f"{folder} holds no table of arms: write it with `rnnlab report ablation --out {folder}`")
    tables = [pd.read_csv(path).assign(sitting=str(path.parent.relative_to(folder))) for path in paths]
    return expressible(pd.concat(tables).drop_duplicates(["task", "arm"]))


def expressible(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows, with columns task and arm, whose arm can express its task."""
    kinds = rows["task"].str.rsplit("-", n=1).str[0]
    return rows.loc[[pair not in CANNOT for pair in zip(rows["arm"], kinds, strict=True)]].reset_index(drop=True)


def by_task(arms: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """The rows that `rnnlab.statistics.arms_by_task.arms_by_task` gives for one of `COLUMNS`."""
    names = arms["task"].str.rsplit("-", n=1, expand=True)
    table = arms[["task", "arm"]].assign(
        kind=names[0], length=names[1].astype(int), runs=arms["seeds"] + arms["failed"]
    )
    for column, name in zip(["value", "low", "high"], [*COLUMNS[quantity], None, None], strict=False):
        table[column] = arms[name] if name else math.nan
    return table


def write_distances(folder: Path) -> str:
    """Draw and describe every arm at every distance.

    Args:
        folder: as `read_sittings`; gets distances.md and a figure for each quantity.

    Returns:
        The page.
    """
    arms = read_sittings(folder)
    solved, kept = by_task(arms, "solved"), kept_table(arms)
    held = held_against(solved)
    save(draw_kept(kept), folder / "distances-kept.png")
    parts = [_intro(arms), markdown_table(_reach_cells(solved)), ""]
    parts += [f"* {sentence}" for sentence in out_of_order(arms)]
    for quantity in COLUMNS:
        caption = GLANCES[quantity]
        name = f"distances-{quantity.replace('_', '-')}.png"
        save(draw_matrix(by_task(arms, quantity), solved, quantity), folder / name)
        parts.append(f"\n![{caption}]({name})\n\n*{caption}*")
    parts += ["", KEPT, *(f"* {sentence}" for sentence in sentences(kept))]
    parts += ["", _folklore(held), markdown_table(folklore_cells(held)), "", _caveats(arms, folder)]
    text = "\n".join(parts).rstrip() + "\n"
    write_whole(folder / "distances.md", text.encode())
    return text


def _intro(arms: pd.DataFrame) -> str:
    reports = [f"[{listing(tasks)}]({sitting}/report.md)" for sitting, tasks in _sittings(arms)]
    return INTRO.format(
        sittings="; ".join(reports),
        tasks=markdown_table(task_cells()),
        arms=markdown_table(arm_cells()),
        parameters=f"{arms['parameters'].min():,.0f} to {arms['parameters'].max():,.0f}",
        budget=arms["updates"].max(),
        seeds=arms["seeds"].max(),
        cannot="; ".join(f"{arm} is {why} ({kind})" for (arm, kind), why in CANNOT.items()),
    )


def _folklore(held: pd.DataFrame) -> str:
    tests = sum(won + other > 0 for won, other in zip(held["won"], held["won_other"], strict=True))
    seeds = max(held["runs"].tolist())
    return FOLKLORE.format(seeds=seeds, tests=tests, lead=least_lead(seeds, tests))


def _caveats(arms: pd.DataFrame, folder: Path) -> str:
    """What to know before two arms are compared, from the tables that the reports have left."""
    spending = pd.concat([pd.read_csv(path) for path in sorted(folder.glob("**/tables/spending.csv"))])
    rates = arms["learning_rate"]
    images = arms.loc[arms["task"].str.startswith("digits") & (arms["solved_fraction"] >= HALF)]
    short = [
        f"{row['arm']} solves {row['solved']} of {row['seeds']} and is right in {row['score']:.1%} of the test images"
        for row in images.sort_values("score").to_dict("records")
    ]
    return CAVEATS.format(
        spent=(spending["search_updates"] / (spending["search_runs"] * arms["updates"].max())).median(),
        untuned=np.count_nonzero(arms["solved"] == 0),
        cells=len(arms),
        edges=np.count_nonzero(rates.isin([rates.min(), rates.max()])),
        digits="; ".join(short),
    )


def _reach_cells(solved: pd.DataFrame) -> list[list[str]]:
    """How far each arm gets on each kind of task, the arm that solves most first."""
    reach = reach_by_kind(solved)
    kinds = [kind for kind in TASKS if kind in reach.columns]
    cells = [["Arm", *(kind.replace("_", " ") for kind in kinds), "Solved"]]
    won = solved.loc[solved["value"] >= HALF].groupby(["arm", "kind"])["length"].agg(list)
    for row in reach.to_dict("records"):
        shown = []
        for kind in kinds:
            beyond = [n for n in sorted(won.get((row["arm"], kind), [])) if n > row[kind]]
            far = f" ({', '.join(map(str, beyond))})" if beyond else ""
            shown.append("" if math.isnan(row[kind]) else (f"{row[kind]:.0f}" if row[kind] else "–") + far)
        cells.append([row["arm"], *shown, f"{row['solved']} of {row['runs']}"])
    return cells


def out_of_order(arms: pd.DataFrame) -> Iterator[str]:
    """Say which arms solve a task less often than a longer one, and what their searches chose."""
    table = by_task(arms, "solved").assign(rate=arms["learning_rate"]).sort_values("length")
    for _, rows in table.groupby(["arm", "kind"], sort=False):
        found = rows.to_dict("records")
        for short, long in itertools.pairwise(found):
            if long["value"] - short["value"] > UNLUCKY:
                more, less = (_tuned(row) for row in (long, short))
                done = f"{long['arm']} solves {long['kind'].replace('_', ' ')} over {more}"
                yield f"{done} more often than over {less}: a rate is chosen on one seed, and may be unlucky."


def _tuned(row: dict[Any, Any]) -> str:
    return f"{row['length']} steps ({row['value']:.0%}, rate {number(row['rate'])})"


def _sittings(arms: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    for sitting, rows in arms.groupby("sitting"):
        yield str(sitting), list(dict.fromkeys(rows["task"]))
