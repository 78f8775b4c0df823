"""What experiments must have in common for their runs to train together."""

import json
from typing import Any

from rnnlab.config.config import Config


def shape(config: Config) -> str:
    """Everything that runs which train together share; they differ in numbers: rates, starting values, budgets, seeds.

    Args:
        config: one experiment.

    Returns:
        The same text for experiments of one shape.
    """
    data = config.model_dump(mode="json")
    for name in config.cell.starting:
        data["cell"].pop(name, None)
    remedies = {kind: _without_rates(options) for kind, options in data["remedies"].items()}
    training = {name: data["training"][name] for name in ("batch_size", "stream")}
    alike = {name: data[name] for name in ("task", "cell", "model", "dtype", "threads")}
    return json.dumps({**alike, "optimizer": data["optimizer"]["kind"], "remedies": remedies, "training": training})


def is_joinable(config: Config) -> bool:
    """Whether one pass can compute the gradients of several runs of this shape, with the bits of each alone."""
    return not (
        config.task.answers == "decoder"
        or config.training.stream
        or config.model.input == "embedding"
        or config.model.checkpoint_every is not None
        or any(remedy.penalises for remedy in config.remedies)
    )


def _without_rates(options: Any) -> Any:
    """Options without those that are fractions, which each run may have its own of."""
    return {k: v for k, v in options.items() if not isinstance(v, float)} if isinstance(options, dict) else options
