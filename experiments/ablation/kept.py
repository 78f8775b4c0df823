"""Was it the gradient? What is left of it over a whole sequence, beside what is solved."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from rnnlab.common.text import listing
from rnnlab.plots.style import INK, dress, legend_below, looks, panels
from rnnlab.statistics.arms_by_task import HALF

MOMENTS = {"decay_rate_init": "before training", "decay_rate": "at the last recorded step"}
FEW = 3.0
"""Decades lost over a sequence up to which the gradient counts as kept; chosen after a look at the figure."""
WIDEST = 25.0
"""Decades; what is beyond stands at the edge of the figure."""


def kept_table(arms: pd.DataFrame) -> pd.DataFrame:
    """What is left of the gradient over the length of the sequence: slope times length.

    Args:
        arms: of `experiments.ablation.distances.read_sittings`.

    Returns:
        A row for every arm on every task whose slope is known at both moments: task, kind, length, arm, solved (share
        of the seeds), and decades left (negative where the gradient vanishes) by moment.
    """
    names = arms["task"].str.rsplit("-", n=1, expand=True)
    length = names[1].astype(int)
    table = pd.DataFrame({"task": arms["task"], "kind": names[0], "length": length, "arm": arms["arm"]})
    table["solved"] = arms["solved_fraction"]
    for column in MOMENTS:
        table[column] = arms[column] * length
    return table.dropna(subset=list(MOMENTS)).reset_index(drop=True)


def sentences(table: pd.DataFrame) -> Iterator[str]:
    """Of the arms that keep the gradient and of those that do not, how many solve their task."""
    for column, when in MOMENTS.items():
        kept = table[column].to_numpy() > -FEW
        solved = table["solved"].to_numpy() >= HALF
        yield (
            f"Where the gradient loses less than {FEW:g} decades over the sequence {when}, at least half of the seeds "
            f"solve the task in {(kept & solved).sum()} of {kept.sum()} cases; where it loses more, in "
            f"{(~kept & solved).sum()} of {(~kept).sum()}."
        )
    kept, unsolved = table["decay_rate"] > -FEW, table["solved"] == 0
    rows = table.loc[kept & unsolved & (table["length"] == table["length"].max())]
    for task, arms in rows.groupby("task", sort=False)["arm"]:
        yield f"Kept to the end and yet solved by no seed, {task}: {listing(sorted(arms))}."


def draw_kept(table: pd.DataFrame) -> Axes:
    """Draw share solved against decades left, a panel for each moment, a point for each arm on each task."""
    both = panels(2, 2, 5.4, 4.6)
    look = looks(dict.fromkeys(table["kind"]))
    for ax, (column, when) in zip(both, MOMENTS.items(), strict=True):
        ax.axvspan(-FEW, WIDEST, color="#eef3ee", zorder=0)
        for kind, rows in table.groupby("kind", sort=False):
            x = rows[column].clip(-WIDEST, 5).to_numpy(float)
            shift = np.random.default_rng(0).uniform(-0.012, 0.012, len(rows))  # points that lie on one another
            size = 14 + 12 * np.log2(rows["length"] / 25)
            ax.scatter(
                x, rows["solved"] + shift, s=size, color=look[str(kind)].color, marker=look[str(kind)].marker,
                alpha=0.75, linewidths=0, label=str(kind).replace("_", " "),
            )  # fmt: skip
        ax.set_xlim(-WIDEST - 1, 6)
        ax.axvline(0, color=INK, linewidth=0.8)
        dress(ax, f"Gradient {when}", "decades left over the whole sequence", "share of seeds that solve")
    legend_below(both[0], both[0].get_legend_handles_labels()[0], columns=4)
    return both[0]
