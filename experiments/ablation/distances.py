"""Every arm at every distance, from the tables of all sittings of the ablation."""

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from rnnlab.common.errors import UserError
from rnnlab.common.files import write_whole
from rnnlab.common.text import listing, markdown_table, number
from rnnlab.plots import save
from rnnlab.plots.matrix import draw_matrix
from rnnlab.report.figures import GLANCES
from rnnlab.report.tables import reach_cells
from rnnlab.statistics.arms_by_task import HALF, reach_by_kind

from .folklore import folklore_cells, held_against

COLUMNS = {
    "solved": ["solved_fraction", "solved_low", "solved_high"],
    "steps_to_solve": ["steps_to_solve", "steps_low", "steps_high"],
    "decay_rate_init": ["decay_rate_init"],
    "decay_rate": ["decay_rate"],
}
"""What is drawn, and where it stands in a report's table of arms."""
INTRO = """# Every arm at every distance

Written by `python -m experiments.ablation` from the reports of its sittings, which say how the arms were tuned and
trained: {sittings}.

The greatest length that at least half of the fresh seeds of an arm solve, as they do every shorter one:
"""
FOLKLORE = """## What is said of it, held against the table

Fisher's exact test of how many of the fresh seeds each of two arms solves, on each task, at the 5% level with Holm's
correction over the tasks of a saying. A saying holds where the first arm solves more on some task and less on none,
up to the length of the longest such task. The sayings were written down when the results up to 100 steps were known
and those of 200 were not.
"""


def read_sittings(folder: Path) -> pd.DataFrame:
    """Read the tables of arms that reports have left in a folder, and in the folders within it.

    Args:
        folder: the report of the ablation; that of a second sitting in a folder within it.

    Returns:
        A row for every arm on every task, with a column `sitting`, the folder of its report relative to `folder`.

    Raises:
        UserError: if there is no such table.
    """
    paths = sorted([*folder.glob("ablation.csv"), *folder.glob("*/ablation.csv")])
    if not paths:
        raise UserError(f"{folder} holds no table of arms: write it with `rnnlab report ablation --out {folder}`")
    tables = [pd.read_csv(path).assign(sitting=str(path.parent.relative_to(folder))) for path in paths]
    return pd.concat(tables, ignore_index=True).drop_duplicates(["task", "arm"], ignore_index=True)


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
    solved = by_task(arms, "solved")
    reports = [f"[{listing(tasks)}]({sitting}/report.md)" for sitting, tasks in _sittings(arms)]
    parts = [INTRO.format(sittings="; ".join(reports)), markdown_table(reach_cells(reach_by_kind(solved)))]
    parts += ["", *(f"* {sentence}" for sentence in out_of_order(arms))]
    for quantity in COLUMNS:
        caption = GLANCES[quantity]
        name = f"distances-{quantity.replace('_', '-')}.png"
        save(draw_matrix(by_task(arms, quantity), solved, quantity), folder / name)
        parts.append(f"\n![{caption}]({name})\n\n*{caption}*")
    parts += ["", FOLKLORE, markdown_table(folklore_cells(held_against(solved)))]
    text = "\n".join(parts) + "\n"
    write_whole(folder / "distances.md", text.encode())
    return text


def out_of_order(arms: pd.DataFrame) -> Iterator[str]:
    """Say which arms solve a task less often than a longer one, and what their searches chose."""
    table = by_task(arms, "solved").assign(rate=arms["learning_rate"]).sort_values("length")
    for _, rows in table.groupby(["arm", "kind"], sort=False):
        found = rows.to_dict("records")
        for short, long in itertools.pairwise(found):
            if long["value"] - short["value"] > 1 - HALF:
                more, less = (_tuned(row) for row in (long, short))
                done = f"{long['arm']} solves {long['kind']} over {more}"
                yield f"{done} more often than over {less}: a rate is chosen on one seed."


def _tuned(row: dict[Any, Any]) -> str:
    return f"{row['length']} steps ({row['value']:.0%}, rate {number(row['rate'])})"


def _sittings(arms: pd.DataFrame) -> Iterator[tuple[str, list[str]]]:
    for sitting, rows in arms.groupby("sitting"):
        yield str(sitting), list(dict.fromkeys(rows["task"]))
