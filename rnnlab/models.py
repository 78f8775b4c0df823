"""From a configuration to a network: input, recurrent layers, readout."""

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.config import Config
from rnnlab.layers import Recurrent
from rnnlab.seeding import make_generator


class SequenceModel(nn.Module):
    """Input encoding -> recurrent layers -> linear readout where the task wants an answer.

    Input, layers and readout draw their starting values from streams of their own, so that two experiments that
    differ in the cell still start from the same readout.

    Args:
        config: the experiment.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        task, model = config.task, config.model
        self.every = task.answers == "every"
        self.symbols = task.input_size if task.symbols else 0
        self.embedding: nn.Embedding | None = None
        size = task.input_size
        if model.input == "embedding":
            size = model.embedding_size
            weight = torch.randn(task.input_size, size, generator=make_generator(config.seed, "init", "input"))
            self.embedding = nn.Embedding.from_pretrained(weight, freeze=False)
        self.recurrent = Recurrent(
            config.cell,
            size,
            num_layers=model.num_layers,
            bidirectional=model.bidirectional,
            residual_layers=model.residual_layers,
            init=config.init,
            steps=task.steps,
            generator=make_generator(config.seed, "init", "recurrent"),
        )
        linear = nn.utils.skip_init(nn.Linear, self.recurrent.output_size, task.output_size)
        self.readout = cast(nn.Linear, linear)
        bound = 1 / math.sqrt(self.recurrent.output_size)
        generator = make_generator(config.seed, "init", "readout")
        for parameter in self.readout.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.dtype: torch.dtype = getattr(torch, config.dtype)
        self.to(self.dtype)

    def forward(self, inputs: Tensor, states: Any = None, start: int = 0) -> tuple[Tensor, Any]:
        """Answer a sequence, or a piece of one.

        Args:
            inputs: (T, B, I) features or (T, B) symbols.
            states: the recurrent layers' states before the first step; zeros if none.
            start: absolute time of the first step.

        Returns:
            (T, B, O) answers, or (1, B, O) at the last step alone, and the states after the last step.
        """
        hidden, states = self.recurrent(self._encode(inputs), states, start=start)
        return self.readout(hidden if self.every else hidden[-1:]), states

    def noisy_states(self, batch_size: int, generator: torch.Generator) -> Any:
        """States before the first step of a training sequence: noise in h where the cell asks for it, else none."""
        noise = self.recurrent.cell.norm_noise
        if not noise:
            return None
        count, cell = self.recurrent.num_layers * len(self.recurrent.directions), self.recurrent.cell
        h = noise * torch.randn(count, batch_size, cell.hidden_size, generator=generator, dtype=self.dtype)
        rest = [torch.zeros_like(h) for _ in cell.states[1:]]
        return (h, *rest) if rest else h

    def _encode(self, inputs: Tensor) -> Tensor:
        if self.embedding is not None:
            return self.embedding(inputs)
        if self.symbols:
            return F.one_hot(inputs, self.symbols).to(self.dtype)
        return inputs.to(self.dtype)
