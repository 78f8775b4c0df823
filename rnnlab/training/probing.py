"""Probes along a training run, on passes of their own that leave no mark on it."""

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rnnlab.config.config import Config
from rnnlab.config.sections import Recording
from rnnlab.probes.base import measure
from rnnlab.probes.tape import trace
from rnnlab.tasks import Batch
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.bias import gradient_bias
from rnnlab.training.models import EncoderDecoder, SequenceModel
from rnnlab.training.side_pass import side_pass

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr


class Prober:
    """Measures some probes at some training steps.

    Such a step runs its batch once more, forward and all the way back, on the same weights and with the same noise that
    the update then uses. What was measured is kept as plain data, so that a run that was interrupted gives the same
    bits as one that was not.

    Args:
        config: the experiment.
        model: its network.
        noise: the source of the states before the first step and, in the layers, of noise inside the steps.
        chance: the source of what remedies draw.
    """

    def __init__(
        self, config: Config, model: SequenceModel | EncoderDecoder, noise: torch.Generator, chance: torch.Generator
    ) -> None:
        self.config, self.model, self.noise, self.chance = config, model, noise, chance
        self.steps = probed_steps(config.recording, config.training.steps)
        self.measured: list[dict[str, Any]] = []

    def take(self, step: int, batch: Batch, last: bool = False) -> None:
        """Measure, if this training step is one of those probed.

        Args:
            step: updates done.
            batch: what the update of this step will see.
            last: whether training is over before all planned updates, which is measured too.
        """
        if not self.steps or not (last or step in self.steps):
            return
        with side_pass(self.model):
            states = self.model.noisy_states(self.config.training.batch_size, self.noise)
            bias = self._bias(step, batch, states)
            with trace(self.model) as tape:
                backpropagate(self.model, self.config.task, batch, states=states)
            dataset = measure(tape.traces, self.config.recording.probes).assign(bias)
        self.measured.append({"train_step": step, "data": dataset.to_dict()})

    def _bias(self, step: int, batch: Batch, states: Any) -> "Mapping[Any, xr.DataArray]":
        """What the remedies, where there are any, change about the gradient."""
        task, remedies = self.config.task, self.config.remedies
        if not remedies:
            return {}
        return gradient_bias(self.model, task, batch, remedies, states, step, self.chance).data_vars

    def dataset(self) -> "xr.Dataset | None":
        """Everything measured so far, with a leading `step` and the coordinate `train_step`; none if nothing was.

        NaN where a step has no such quantity. The loss is the batch mean as it is: `loss_reduction_scale` is 1.
        """
        if not self.measured:
            return None
        import xarray as xr

        parts = [xr.Dataset.from_dict(entry["data"]) for entry in self.measured]
        together = xr.concat(parts, "step", data_vars="all", coords="minimal", compat="override", join="outer",
                             combine_attrs="override")  # fmt: skip
        train_step = np.array([entry["train_step"] for entry in self.measured], dtype=np.int64)
        together = together.assign_coords(step=np.arange(len(parts)), train_step=("step", train_step))
        probes = self.config.recording.probes
        return together.assign_attrs(loss_reduction_scale=1.0, preset=probes if isinstance(probes, str) else "")

    def state_dict(self) -> list[dict[str, Any]]:
        """Everything measured so far as lists and primitives, for a checkpoint."""
        return self.measured

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take up what `state_dict` wrote."""
        self.measured = state


def probed_steps(recording: Recording, steps: int) -> frozenset[int]:
    """Which training steps are probed: none in the preset light; step 0 shows the network at initialisation.

    Args:
        recording: which preset, and at how many steps.
        steps: planned number of updates.

    Returns:
        At most `recording.probe_points` steps below `steps`, spread logarithmically; a run that is over before is
        probed at its end too.
    """
    if not recording.is_probed:
        return frozenset()
    return frozenset((np.geomspace(1, steps, recording.probe_points).round().astype(int) - 1).tolist())
