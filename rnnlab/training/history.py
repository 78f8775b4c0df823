"""The curves of a run."""

import math
from typing import Any

from rnnlab.remedies import Changed
from rnnlab.training.result import Curve


class History:
    """Collects curves; what happens at every update is averaged between two evaluations.

    Args:
        score_name: name of the task's score.
    """

    def __init__(self, score_name: str) -> None:
        self.curves = {
            "train/loss": Curve([], []),
            "val/loss": Curve([], []),
            f"val/{score_name}": Curve([], []),
        }
        self._interval: list[list[float]] = []

    def add(self, step: int, name: str, value: float) -> None:
        """Add one point; infinities, which no dashboard can draw, become NaN."""
        curve = self.curves.setdefault(name, Curve([], []))
        curve.steps.append(step)
        curve.values.append(value if math.isfinite(value) else math.nan)

    def add_update(self, loss: float, gradient: Changed) -> None:
        """Note one optimiser update."""
        self._interval.append([loss, gradient.before, gradient.after, gradient.coefficient, gradient.clipped])

    def close_interval(self, step: int) -> None:
        """Average the updates since the last call into one point of each curve."""
        if not self._interval:
            return
        losses, before, after, coefficients, clipped = zip(*self._interval, strict=True)
        count = len(self._interval)
        self._interval = []
        self.add(step, "train/loss", sum(losses) / count)
        self.add(step, "grad/norm", sum(before) / count)
        self.add(step, "remedies/norm_after", sum(after) / count)
        self.add(step, "remedies/coefficient", sum(coefficients) / count)
        self.add(step, "remedies/clipped_fraction", sum(clipped) / count)

    def state_dict(self) -> dict[str, Any]:
        """Everything as lists and numbers."""
        curves = {name: [curve.steps, curve.values] for name, curve in self.curves.items()}
        return {"curves": curves, "interval": self._interval}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` wrote."""
        self.curves = {name: Curve(*curve) for name, curve in state["curves"].items()}
        self._interval = state["interval"]
