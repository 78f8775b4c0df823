"""What one training run leaves behind."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from rnnlab.config.config import Config
from rnnlab.gradients.decay import Decay, fit_decay
from rnnlab.gradients.profile import top

if TYPE_CHECKING:
    import xarray as xr

    from rnnlab.training.models import EncoderDecoder, SequenceModel

Outcome = Literal["solved", "finished", "diverged"]

DIVERGED_PENALTY = 10.0
"""A diverged run counts for the tuner as this many times the loss of the trivial baseline."""


class Curve(NamedTuple):
    """One quantity over training: the updates done when it was taken, and its values."""

    steps: list[int]
    values: list[float]


@dataclass(frozen=True)
class Result:
    """Outcome, final scores, curves, gradient profile and probes of one run.

    Attributes:
        config: what was run.
        outcome: solved (the last validation score reaches the criterion), finished, or diverged.
        steps: updates done.
        steps_to_solve: updates after which the criterion was first reached, if ever.
        test_loss: mean loss over the test set, with the last weights; NaN where they no longer give numbers.
        test_score: mean score over the test set, likewise.
        seconds: wall time of training and evaluation, interruptions left out.
        weights: numbers that training may change.
        history: curves by name, such as `train/loss`.
        profile: total gradient norms at every time step of every recorded training step.
        probes: what the probes measured at every probed training step.
        model: the trained network, in evaluation mode; not stored with the run.
    """

    config: Config
    outcome: Outcome
    steps: int
    steps_to_solve: int | None
    test_loss: float
    test_score: float
    seconds: float
    weights: int
    history: dict[str, Curve]
    profile: "xr.Dataset | None"
    probes: "xr.Dataset | None" = None
    model: "SequenceModel | EncoderDecoder | None" = field(default=None, repr=False, compare=False)

    @property
    def objective(self) -> float:
        """What tuning minimises: the last validation loss, always finite.

        The loss of a solved run is scaled by the share of the budget it took, so that of two solving points the
        faster wins; a diverged run counts as several times the trivial baseline.
        """
        last = self.history["val/loss"].values[-1:]
        loss = last[0] if last and math.isfinite(last[0]) else math.inf
        penalty = DIVERGED_PENALTY * self.config.task.baseline.loss
        if self.outcome == "diverged" or not math.isfinite(loss):
            return max(penalty, loss) if math.isfinite(loss) else penalty
        return loss * self.steps / self.config.training.steps if self.outcome == "solved" else loss

    @property
    def cost(self) -> float:
        """What the run cost, the same on every machine: weights × time steps × examples trained on.

        That is how many multiply-adds the forward passes of training take, if every weight takes part in one at every
        time step of every example: exact for recurrent weights, too much for a readout at the last step alone.
        Backward passes take about twice as many again, and evaluation is left out. A diverged run counts with its
        whole budget, so that breaking early is no saving.
        """
        options = self.config.training
        updates = options.steps if self.outcome == "diverged" else self.steps
        return float(self.weights * self.config.steps_an_update * updates * options.batch_size)

    def summary(self) -> dict[str, float]:
        """Final numbers by the name they have in every table of runs; NaN where a number does not exist."""
        profile = summarised(self.profile) if self.profile is not None and self.profile.sizes["step"] else None
        first, last = (Decay.unknown() if profile is None else self._decay(profile, step) for step in (0, -1))
        change = math.nan if profile is None else _change(profile.isel(step=-1))
        clip = self.history.get("remedies/clipped_fraction")
        recording = self.config.recording
        return {
            "score": self.test_score,
            "loss": self.test_loss,
            "solved": float(self.outcome == "solved"),
            "diverged": float(self.outcome == "diverged"),
            "steps": float(self.steps),
            "steps_to_solve": math.nan if self.steps_to_solve is None else float(self.steps_to_solve),
            "seconds": self.seconds,
            "cost": self.cost,
            "decay_rate": last.slope,
            "decay_rate_stderr": last.stderr,
            "decay_r2": last.r2,
            "decay_bent": math.nan if math.isnan(last.slope) else float(last.bent),
            "decay_rate_init": first.slope,
            "half_life": last.half_life,
            "vanished": _flag(change, change < recording.vanished),
            "exploded": _flag(change, change > recording.exploded),
            "clipped_fraction": float(np.mean(clip.values)) if clip and clip.values else math.nan,
        }

    def _decay(self, profile: "xr.Dataset", step: int) -> Decay:
        """Decay of the recorded gradient, or where every step has a loss, of that of single answers, if probed."""
        names = ("log10_grad_norm_by_lag", "lag", "loss_fraction_by_lag")
        found = fit_decay(*(profile.isel(step=step)[name].values for name in names))
        if math.isfinite(found.slope) or self.probes is None or "log10_lagged_norm" not in self.probes:
            return found
        answers = top(self.probes.sel(direction="forward")).isel(step=step)
        return fit_decay(answers["log10_lagged_norm"].values, answers["lag"].values)


def summarised(profile: "xr.Dataset") -> "xr.Dataset":
    """The part of a gradient profile that curves and tables sum up: hidden state, forward, at the top of the network.

    Args:
        profile: gradient profile of one run.

    Returns:
        Dataset with dims (step, time) and (step, lag).
    """
    return top(profile.sel(direction="forward", state="h"))


def _change(profile: "xr.Dataset") -> float:
    """Decades from the last measured time step back to the first."""
    zero = profile["zero_fraction"].values
    norms = np.where(zero == 1, -np.inf, profile["log10_grad_norm"].values)[~np.isnan(zero)]
    return float(norms[0] - norms[-1]) if len(norms) and np.isfinite(norms[-1]) else math.nan


def _flag(measured: float, value: bool) -> float:
    return math.nan if math.isnan(measured) else float(value)
