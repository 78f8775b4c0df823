"""Figures that several results have in common."""

from collections.abc import Callable, Mapping

from matplotlib.axes import Axes

from rnnlab.plots.curves import curves
from rnnlab.reproductions.criteria import Findings


def learning_curves(
    title: str, ylabel: str, levels: Mapping[str, float], values: str = "curve", log: bool = False
) -> Callable[[Findings], Axes]:
    """How to draw the validation curves of `final_values`, one a seed, in the colour of its arm.

    Args:
        title: what is shown.
        ylabel: name of the loss or score.
        levels: horizontal lines by name, such as the baseline.
        values: `curve` for the loss, `score_curve` for the score.
        log: whether y is spaced by decades.
    """

    def draw(found: Findings) -> Axes:
        lines = {arm: [(one["curve_steps"], one[values]) for one in several] for arm, several in found.items()}
        return curves(lines, title, "training step (updates)", ylabel, levels, log)  # type: ignore[arg-type]

    return draw
