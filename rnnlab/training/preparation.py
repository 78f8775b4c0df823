"""What remedies do to a network before its first update."""

import torch

from rnnlab.config.config import Config
from rnnlab.remedies import Penalty
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import EncoderDecoder, SequenceModel
from rnnlab.training.penalties import follow, penalise


def prepare(
    model: SequenceModel | EncoderDecoder, config: Config, device: torch.device, chance: torch.Generator
) -> None:
    """Let remedies act on a new network.

    Args:
        model: changed in place.
        config: the experiment.
        device: where the network is.
        chance: where data and noise come from, which those of the training do not follow.
    """

    def penalise_fresh(penalty: Penalty) -> None:
        batch = config.task.sample(chance, config.training.batch_size).to(device)
        with follow(model) as followed:
            backpropagate(model, config.task, batch)
        model.zero_grad()
        penalise(followed, [penalty])

    for remedy in config.remedies:
        remedy.prepare(model, penalise_fresh, chance)
    model.zero_grad()
