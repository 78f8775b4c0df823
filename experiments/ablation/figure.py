"""The figure of the page: AUC with intervals by measure, what it has to beat as lines."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from rnnlab.plots.style import FAINT, INK, axes, dress, legend_below, looks
from rnnlab.statistics.foretelling import OWN_RATE

SETTINGS = {"arms": "arms left out", "tasks": "tasks left out", "within": "within arms"}
APART = 0.22
"""Between the settings of one measure, in rows."""


def draw(judged: pd.DataFrame, beaten: pd.DataFrame) -> Axes:
    """Draw a row for each measure and moment, with a point and an interval for each setting.

    Args:
        judged: of `experiments.ablation.page.judge`.
        beaten: of `experiments.ablation.page.baselines`.

    Returns:
        The axes.
    """
    ax = axes(9.0, 1.8 + 0.42 * len(judged))
    ax.axvline(0.5, color=INK, linewidth=1)
    (rate,) = beaten.loc[beaten["predictor"] == OWN_RATE].to_dict("records")
    look = looks(SETTINGS)
    ax.axvline(rate["tasks"], color=look["tasks"].color, linewidth=1.2, linestyle=(0, (5, 1.5)))
    for place, row in enumerate(judged.to_dict("records")):
        for k, (setting, (color, marker, _)) in enumerate((s, look[s]) for s in SETTINGS):
            y = place + (k - 1) * APART
            ax.plot([row[f"{setting}_low"], row[f"{setting}_high"]], [y, y], color=color, linewidth=1.3)
            ax.plot(row[setting], y, color=color, marker=marker, markersize=4.5, linestyle="none")
    for place in range(1, len(judged)):
        if judged["moment"].iloc[place] != judged["moment"].iloc[place - 1]:
            ax.axhline(place - 0.5, color=FAINT, linewidth=0.8)
    labels = (judged["measure"] + ", " + judged["moment"]).tolist()
    ax.set_yticks(range(len(labels)), labels)
    ax.set_ylim(len(labels) - 0.5, -0.5)
    dress(ax, "Who will solve the task, by gradient health", "AUC", "", grid="x")
    handles = [
        Line2D([], [], color=look[s].color, marker=look[s].marker, markersize=4.5, label=name)
        for s, name in SETTINGS.items()
    ]
    handles += [
        Line2D([], [], color=INK, linewidth=1, label="chance"),
        Line2D([], [], color=look["tasks"].color, linestyle=(0, (5, 1.5)), label=OWN_RATE),
    ]
    legend_below(ax, handles, columns=2)
    return ax
