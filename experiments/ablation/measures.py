"""How healthy the gradient of a run is, at the moment it has reached."""

import math

import numpy as np
import xarray as xr

import rnnlab
from rnnlab.common.seeding import make_generator
from rnnlab.gradients.decay import fit_decay
from rnnlab.gradients.recorder import Recorder
from rnnlab.probes.horizon import effective_horizon
from rnnlab.probes.lagged import lagged
from rnnlab.probes.learnability import learnability
from rnnlab.probes.sensitivity import sensitivity
from rnnlab.probes.signal_noise import signal_noise
from rnnlab.probes.trace import Trace
from rnnlab.remedies import cut_into_windows
from rnnlab.tasks import Batch
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.progress import Progress
from rnnlab.training.side_pass import side_pass

MEASURES = {
    "decay_rate": "decay rate",
    "unevenness": "distance of the decay rate from 0",
    "horizon": "effective horizon",
    "norm_ratio": "norm ratio over the task's lag",
    "sensitivity": "sensitivity",
    "signal_noise": "signal to noise of dE/dW",
    "learnable_lag": "predicted learnable lag",
}
SAID = {
    "decay_rate": "slope of log10 of the gradient norm against lag, decades a step: the larger, the slower it vanishes",
    "unevenness": "the same without its sign: how far from neither vanishing nor exploding",
    "horizon": "lag up to which the norm stays above a hundredth of that at the last step",
    "norm_ratio": "log10 of the norm at the task's own lag over that at the last step",
    "sensitivity": "log10 of how much the last state depends on the weights, E ‖ds/dW‖²",
    "signal_noise": "log10 of mean over spread of the weights' gradient between sequences",
    "learnable_lag": "longest lag whose gradient all sequences of the budget together would raise above its noise",
}
"""What each says, in a sentence."""
MAX_LAG = 200
SIGNS = 4
"""Random signs a weight for the sensitivity, whose mean over all of them is what counts."""
NOTHING = -1.0
"""Learnable lag where not even lag 0 can be taught: below all others, and no missing value."""


def health(run: Progress) -> dict[str, float]:
    """Measure the gradient of a run on a fresh batch, without leaving a mark on the run.

    The profile of the gradient is that which training sees, with its remedies; where every step has a loss, that of
    single answers, from the probe `lagged`. What the other probes measure is the whole gradient. All of the top layer,
    on as many sequences as an update has.

    Args:
        run: its model has the weights that are measured.

    Returns:
        The `MEASURES`, NaN where one does not exist.
    """
    config = run.config
    batch = config.task.sample(make_generator(config.seed, "health"), config.training.batch_size)
    with side_pass(run.model), rnnlab.trace(run.model) as tape:
        backpropagate(run.model, config.task, batch, states=run.noisy_states())
    trace = tape.traces[-1]
    at = sorted(config.task.lags)[len(config.task.lags) // 2]
    norms, decay = _recorded(run, batch) if config.task.answers == "last" else _of_single_answers(trace, at)
    reached = norms[at] if at % trace.dilation == 0 else math.nan
    sequences = config.training.steps * config.training.batch_size
    return {
        "decay_rate": decay,
        "unevenness": abs(decay),
        "horizon": effective_horizon(norms, np.arange(len(norms))),
        "norm_ratio": float(reached - norms[0]),
        "sensitivity": _sensitivity(sensitivity(trace, directions=SIGNS)),
        "signal_noise": _signal_noise(signal_noise(trace)),
        "learnable_lag": _learnable_lag(learnability(trace, max_lag=MAX_LAG), sequences),
    }


def _recorded(run: Progress, batch: Batch) -> tuple[np.ndarray, float]:
    """log10 norms by lag, and their decay, as a training run records them."""
    config, recorder = run.config, Recorder()
    chance = make_generator(config.seed, "health")
    with side_pass(run.model), recorder.one_step(run.model, run.step, config.steps_an_update, _cut_off(run)):
        backpropagate(run.model, config.task, batch, config.remedies, run.noisy_states(), chance)
    step = recorder.steps[-1]
    norms = step.top(by_lag=True).mean
    return np.where(np.isnan(norms) & _cut_off(run), -np.inf, norms), step.decay().slope


def _cut_off(run: Progress) -> bool:
    """Whether gradients go back through windows of the sequence, and from a loss at its end not beyond the last."""
    return len(cut_into_windows(run.config.task.steps, run.config.remedies)) > 1


def _of_single_answers(trace: Trace, at: int) -> tuple[np.ndarray, float]:
    """The same where every step has a loss; unknown for coupled examples, where it would take minutes."""
    norms = np.full(trace.steps, np.nan)
    if not trace.cell.couples_examples:
        found = lagged(trace, max_lag=max(at, MAX_LAG))["log10_lagged_norm"]
        norms[found["lag"].values] = found.values
    return norms, fit_decay(norms, np.arange(trace.steps)).slope


def _sensitivity(found: dict[str, xr.DataArray]) -> float:
    """log10 E ‖ds_T/dW‖² of the last state, in all weights together."""
    if not found:
        return math.nan
    logs = found["log10_sensitivity"].isel(state=0, time=-1).values
    return float(np.logaddexp.reduce(logs * math.log(10)) / math.log(10))


def _signal_noise(found: dict[str, xr.DataArray]) -> float:
    """Mean over the weights of the log10 of the ratio."""
    if not found:
        return math.nan
    ratios = found["gradient_signal_noise"].values
    return float(np.log10(ratios[ratios > 0]).mean()) if (ratios > 0).any() else math.nan


def _learnable_lag(found: dict[str, xr.DataArray], sequences: int) -> float:
    """The longest lag that so many sequences teach."""
    if not found:
        return math.nan
    needed = found["log10_sequences_needed"]
    return float(needed["lag"].values[needed.values <= math.log10(sequences)].max(initial=NOTHING))
