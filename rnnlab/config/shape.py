"""What experiments must have in common for their runs to train together."""

import json
from typing import Any

from rnnlab.config.config import Config
from rnnlab.scan.compiled import structure


def shape(config: Config) -> str:
    """Everything that runs which train together share; they differ in numbers: rates, starting values, budgets, seeds.

    Args:
        config: one experiment.

    Returns:
        The same text for experiments of one shape.
    """
    data, cell = config.model_dump(mode="json"), config.cell
    # Those that act on the gradient, or before training, do so on each run's own: they need not be alike at all.
    remedies = {
        remedy.kind: data["remedies"][remedy.kind] if remedy.cuts else _without_rates(data["remedies"][remedy.kind])
        for remedy in config.remedies
        if remedy.cuts or remedy.penalises
    }
    training = {name: data["training"][name] for name in ("batch_size", "stream")}
    alike = {name: data[name] for name in ("task", "model", "dtype", "device", "threads")}
    noisy = cell.starting_noise > 0
    alike |= {"cell": [cell.hidden_size, cell.state_sizes, structure(cell), noisy]}
    alike |= {"optimizer": data["optimizer"]["kind"]}
    return json.dumps({**alike, "remedies": remedies, "training": training})


def is_joinable(config: Config) -> bool:
    """Whether one pass can compute the gradients of several runs of this shape, with the bits of each alone."""
    return not (
        config.device != "cpu"  # stacked members have no engine there, and would be taken one by one
        or config.task.answers == "decoder"
        or config.training.stream
        or config.model.input == "embedding"
        or config.model.checkpoint_every is not None
        or any(remedy.penalises for remedy in config.remedies)
    )


def _without_rates(options: Any) -> Any:
    """Options without those that are fractions, which each run may have its own of."""
    return {k: v for k, v in options.items() if not isinstance(v, float)} if isinstance(options, dict) else options
