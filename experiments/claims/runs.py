"""Train small networks and look into them."""

from collections.abc import Iterable
from typing import Any

import torch
import xarray as xr

import rnnlab
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import SequenceModel


def configure(task: dict[str, Any], cell: dict[str, Any], seed: int, **sections: Any) -> Config:
    """The setting that all claims share, with one task, cell and seed."""
    return Config.parse(
        {
            "task": task,
            "cell": {"hidden_size": 32, **cell},
            "optimizer": {"kind": "adam", "lr": 3e-3},
            "training": {"batch_size": 32},
            "remedies": {"clipping": {"by": "norm", "threshold": 1.0}},
            "seed": seed,
            **sections,
        }
    )


def train(config: Config, updates: int, until_solved: bool = False) -> SequenceModel:
    """Train for a number of updates, or until the task is solved, and return the network."""
    if updates == 0:
        return SequenceModel(config)
    often = {"eval_every": 100 if until_solved else updates, "stop_when_solved": until_solved, "test_examples": 1}
    training = config.training.model_copy(update={"steps": updates, **often})
    recording = config.recording.model_copy(update={"points": 0})
    model = rnnlab.run(config.model_copy(update={"training": training, "recording": recording})).model
    assert isinstance(model, SequenceModel)
    return model.train()


def look(model: SequenceModel, config: Config, probes: Iterable[str]) -> xr.Dataset:
    """Measure probes on one fresh batch; forward direction, top layer."""
    batch = config.task.sample(make_generator(config.seed, "claims"), config.training.batch_size)
    with rnnlab.trace(model) as tape:
        backpropagate(model, config.task, batch)
    model.zero_grad()
    return rnnlab.top(rnnlab.measure(tape.traces, probes)).sel(direction="forward")


@torch.no_grad()
def skill(model: SequenceModel, config: Config) -> float:
    """Score on a thousand fresh examples on a scale from 0, the trivial baseline or worse, to 1, perfect."""
    task = config.task
    batch = task.evaluation("test", 1000, make_generator(config.seed, "test"))
    model.eval()
    outputs, _ = model(batch.inputs)
    model.train()
    score, baseline = float(task.scores(outputs, batch.targets).mean()), task.baseline.score
    return max(0.0, (score - baseline) / (float(task.higher_is_better) - baseline))
