"""Train small networks and look into them."""

import math
from collections.abc import Iterable
from typing import Any

import torch
import xarray as xr

import rnnlab
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.remedies.clipping import clip_gradients
from rnnlab.tasks.base import Split
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import SequenceModel
from rnnlab.training.torch_settings import runtime


def configure(task: dict[str, Any], cell: dict[str, Any], seed: int, **sections: Any) -> Config:
    """The setting that all claims share, with one task, cell and seed."""
    return Config.parse(
        {
            "task": task,
            "cell": {"hidden_size": 32, **cell},
            "optimizer": {"kind": "adam", "lr": 3e-3},
            "training": {"batch_size": 32, "clip": {"kind": "norm", "threshold": 1.0}},
            "seed": seed,
            **sections,
        }
    )


def train(config: Config, updates: int, until: float = math.inf) -> SequenceModel:
    """Train for a number of updates, or until the skill is reached, and return the network."""
    model = SequenceModel(config)
    parameters, generator = list(model.parameters()), make_generator(config.seed, "train")
    optimizer = config.optimizer.build(parameters)
    with runtime(1):
        for step in range(updates):
            if step % 100 == 0 and until < math.inf and skill(model, config, "validation") >= until:
                break
            batch = config.task.sample(generator, config.training.batch_size)
            optimizer.zero_grad()
            backpropagate(model, config.task, batch, None)
            clip_gradients(parameters, config.training.clip)
            optimizer.step()
    return model


def look(model: SequenceModel, config: Config, probes: Iterable[str]) -> xr.Dataset:
    """Measure probes on one fresh batch; forward direction, top layer."""
    batch = config.task.sample(make_generator(config.seed, "claims"), config.training.batch_size)
    with rnnlab.trace(model) as tape:
        backpropagate(model, config.task, batch, None)
    model.zero_grad()
    return rnnlab.top(rnnlab.measure(tape.traces, probes)).sel(direction="forward")


@torch.no_grad()
def skill(model: SequenceModel, config: Config, split: Split = "test") -> float:
    """Score on a thousand fresh examples on a scale from 0, the trivial baseline or worse, to 1, perfect."""
    task = config.task
    batch = task.evaluation(split, 1000, make_generator(config.seed, split))
    model.eval()
    outputs, _ = model(batch.inputs)
    model.train()
    score, baseline = float(task.scores(outputs, batch.targets).mean()), task.baseline.score
    return max(0.0, (score - baseline) / (float(task.higher_is_better) - baseline))
