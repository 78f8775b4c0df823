"""From a configuration to a network: input, recurrent layers, readout; and encoder, decoder, readout."""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.layers.recurrent import Recurrent
from rnnlab.tasks import IGNORED, Batch
from rnnlab.training.readout import Readout


class Encoding(nn.Module):
    """How a step enters a stack: numbers as they are, symbols one-hot or as learned vectors.

    Args:
        config: the experiment.
        size: features a step, or distinct symbols.
        stream: names the source of the starting values.
    """

    def __init__(self, config: Config, size: int, stream: str) -> None:
        super().__init__()
        self.symbols = size if config.task.symbols else 0
        self.dtype: torch.dtype = getattr(torch, config.dtype)
        self.output_size = size
        self.embedding: nn.Embedding | None = None
        if config.model.input == "embedding":
            self.output_size = config.model.embedding_size
            weight = torch.randn(size, self.output_size, generator=make_generator(config.seed, "init", stream))
            self.embedding = nn.Embedding.from_pretrained(weight, freeze=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (T, B, I) numbers or (T, B) symbols to (T, B, output_size)."""
        if self.embedding is not None:
            return self.embedding(inputs)
        if self.symbols:
            return F.embedding(inputs, torch.eye(self.symbols, dtype=self.dtype, device=inputs.device))
        return inputs.to(self.dtype)


class Model(nn.Module):
    """What both models have: encoded inputs, and the recurrent layers that read them.

    Each part draws its starting values from a stream of its own, so that two experiments that differ in the cell still
    start from the same readout.

    Args:
        config: the experiment.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.dtype: torch.dtype = getattr(torch, config.dtype)
        self.encode = Encoding(config, config.task.input_size, "input")
        self.recurrent = _stack(
            config, self.encode.output_size, config.task.steps, "recurrent", config.model.bidirectional
        )

    def evaluate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Answer a batch; returns (S, B, O) outputs to take the loss of and (S, B, O) outputs to score."""
        raise NotImplementedError

    def noisy_states(self, batch_size: int, generator: torch.Generator) -> Any:
        """States before the first step of a training sequence: noise in h where the cell asks for it, else none."""
        noise = self.recurrent.cell.starting_noise
        if not noise:
            return None
        count = sum(self.recurrent.dilation) * len(self.recurrent.directions)
        like = torch.zeros(count, 1, dtype=self.dtype)
        h, *rest = (like.new_zeros(count, batch_size, size) for size in self.recurrent.cell.state_sizes)
        h = noise * torch.randn(h.shape, generator=generator, dtype=self.dtype)
        device = next(self.parameters()).device
        return (h.to(device), *(s.to(device) for s in rest)) if rest else h.to(device)


class SequenceModel(Model):
    """Input encoding -> recurrent layers -> linear readout where the task wants an answer.

    Args:
        config: the experiment.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.every = config.task.answers == "every"
        self.readout = _readout(config, self.recurrent.output_size)
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
        hidden, states = self.recurrent(self.encode(inputs), states, start=start)
        return self.readout(hidden if self.every else self._last(hidden, states)), states

    def _last(self, hidden: Tensor, states: Any) -> Tensor:
        """Outputs at the last step; where they are a state, by way of it, so that no gradient fills all other steps."""
        recurrent = self.recurrent
        if recurrent.bidirectional or recurrent.residual_layers or recurrent.dilation[-1] > 1:
            return hidden[-1:]
        h = states[0] if isinstance(states, tuple) else states
        return h[-1:] if recurrent.cell.emits_state else hidden[-1:]

    def evaluate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        outputs, _ = self(batch.inputs)
        return outputs, outputs


class EncoderDecoder(Model):
    """An encoder reads the whole input and hands its final states to a decoder, which writes the answer.

    Encoder (`recurrent`) and decoder are stacks of the same cell and as many layers, with weights of their own. At each
    step the decoder reads the answer before: the right one while training (teacher forcing), its own best one when it
    runs freely. Before the first answer it reads a start symbol of its own or, for numbers, zeros. Its clock
    runs on from the encoder's, so that its first step has the absolute time T.

    A decoder writes forwards only. From a bidirectional encoder each of its layers takes over the mean of
    the final states of the two directions, which keeps their size and needs no further weights.

    Args:
        config: the experiment.

    Reference: Sutskever et al. 2014, "Sequence to Sequence Learning with Neural Networks", section 2.
    """

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        task = config.task
        self.output_size, self.answer_steps, self.symbols = task.output_size, task.answer_steps, task.symbols
        self.encode_answer = Encoding(config, task.output_size + task.symbols, "answer")  # the start symbol is the last
        self.decoder = _stack(config, self.encode_answer.output_size, task.total_steps, "decoder")
        self.readout = _readout(config, self.decoder.output_size)
        self.to(self.dtype)

    def forward(self, inputs: Tensor, targets: Tensor | None = None, states: Any = None) -> tuple[Tensor, Any]:
        """Write the answers to sequences.

        Args:
            inputs: (T, B, I) features or (T, B) symbols.
            targets: (S, B, O) features or (S, B) symbols, the right answers for teacher forcing; without them
                the decoder runs freely and reads its own best answers.
            states: the encoder's states before the first step; zeros if none.

        Returns:
            (S, B, O) answers, and the decoder's states after the last step.
        """
        _, states = self.recurrent(self.encode(inputs), states)
        states, T, B = self._hand_over(states), *inputs.shape[:2]
        return self._write_freely(states, T, B) if targets is None else self._write_guided(states, T, targets)

    def evaluate(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The loss is that of teacher forcing, as in training; the score that of a decoder that runs freely."""
        return self(batch.inputs, batch.targets)[0], self(batch.inputs)[0]

    def _hand_over(self, states: Any) -> Any:
        """Turn the encoder's final states into the decoder's first ones."""
        if not self.recurrent.bidirectional:
            return states
        if isinstance(states, tuple):
            return tuple(self._hand_over(state) for state in states)
        layers = states.split([2 * dilation for dilation in self.recurrent.dilation])
        return torch.cat([layer.unflatten(0, (2, -1)).mean(0) for layer in layers])

    def _first(self, batch_size: int) -> Tensor:
        """What the decoder reads before it has written anything, one step."""
        if self.symbols:
            return torch.full((1, batch_size), self.output_size)
        return torch.zeros(1, batch_size, self.output_size, dtype=self.dtype)

    def _write_guided(self, states: Any, start: int, targets: Tensor) -> tuple[Tensor, Any]:
        """Read the right answers; steps beyond the end of an answer are neither computed nor measured."""
        S, B = targets.shape[:2]
        lengths, longest = None, S
        if self.symbols:
            lengths = (targets != IGNORED).sum(0)
            longest = int(lengths.amax())
            targets = targets.clamp(min=0)
        before = torch.cat([self._first(B).to(targets), targets[: longest - 1]])
        lengths = None if lengths is None or lengths.amin() == longest else lengths
        hidden, states = self.decoder(self.encode_answer(before), states, start=start, lengths=lengths)
        return F.pad(self.readout(hidden), (0, 0, 0, 0, 0, S - longest)), states

    def _write_freely(self, states: Any, start: int, batch_size: int) -> tuple[Tensor, Any]:
        """Read the best answer so far, one step at a time."""
        outputs, before = [], self._first(batch_size).to(self.readout.weight.device)
        for k in range(self.answer_steps):
            hidden, states = self.decoder(self.encode_answer(before), states, start=start + k)
            outputs.append(self.readout(hidden))
            before = outputs[-1].argmax(-1) if self.symbols else outputs[-1]
        return torch.cat(outputs), states


def build_model(config: Config) -> SequenceModel | EncoderDecoder:
    """Build the network that the task asks for."""
    return EncoderDecoder(config) if config.task.answers == "decoder" else SequenceModel(config)


def count_parameters(config: Config) -> int:
    """Count the trained numbers of the network, from their shapes alone, without building it.

    A matrix that is kept orthogonal or antisymmetric counts with every number that is stored for it.
    """
    task, model, cell = config.task, config.model, config.cell
    directions = 1 + model.bidirectional

    def encoded(symbols: int) -> tuple[int, int]:
        """Inputs of the first layer, and weights of the embedding before it."""
        embedded = model.input == "embedding"
        return (model.embedding_size, symbols * model.embedding_size) if embedded else (symbols, 0)

    def stack(input_size: int, directions: int) -> int:
        sizes = [input_size, *[cell.output_size * directions] * (model.num_layers - 1)]
        shapes = [shape for size in sizes for shape in cell.parameter_shapes(size).values()]
        return directions * sum(map(math.prod, shapes))

    inputs, count = encoded(task.input_size)
    count += stack(inputs, directions)
    if task.answers == "decoder":
        inputs, embedding = encoded(task.output_size + task.symbols)
        directions = 1
        count += embedding + stack(inputs, directions)
    return count + (cell.output_size * directions + 1) * task.output_size


def _stack(config: Config, input_size: int, steps: int, stream: str, bidirectional: bool = False) -> Recurrent:
    """Recurrent layers as the configuration says, starting from a stream of their own."""
    stack = Recurrent(
        config.cell,
        input_size,
        num_layers=config.model.num_layers,
        bidirectional=bidirectional,
        dilation=config.model.dilation,
        residual_layers=config.model.residual_layers,
        checkpoint_every=config.model.checkpoint_every,
        init=config.init,
        steps=steps,
        generator=make_generator(config.seed, "init", stream),
    )
    stack.copies_outputs = False
    return stack


def _readout(config: Config, size: int) -> Readout:
    return Readout(size, config.task.output_size, make_generator(config.seed, "init", "readout"))
