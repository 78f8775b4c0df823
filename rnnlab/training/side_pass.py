"""Passes on the side, which leave no mark on a training run."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from rnnlab.layers.recurrent import Recurrent


@contextmanager
def side_pass(model: nn.Module) -> Iterator[None]:
    """Start without gradients, and in the end put back gradients, buffers and random streams as they were.

    Two such passes one after the other draw the same noise.

    Args:
        model: the network that runs inside the block; its running statistics and the generators of its recurrent layers
            are looked after, and torch's global stream on the CPU.
    """
    parameters, buffers = list(model.parameters()), list(model.buffers())
    gradients, kept = [p.grad for p in parameters], [b.clone() for b in buffers]
    generators = {torch.default_generator}
    generators |= {m.noise for m in model.modules() if isinstance(m, Recurrent) and m.noise is not None}
    drawn = {generator: generator.get_state() for generator in generators}
    try:
        for parameter in parameters:
            parameter.grad = None
        yield
    finally:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        for buffer, values in zip(buffers, kept, strict=True):
            buffer.copy_(values)
        for generator, state in drawn.items():
            generator.set_state(state)
