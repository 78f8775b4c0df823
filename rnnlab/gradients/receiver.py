"""Follows one scan and puts aside the total gradients that come back through it."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from rnnlab.cells import States
from rnnlab.gradients.passes import ScanGradients


class GradientReceiver:
    """Follows one scan and passes on what comes back through it.

    In the reference scan it hangs a hook on every state, which autograd calls with the gradient summed over every
    path: that is the total gradient, and for the cell state of an LSTM it includes the path through the same step's
    output. What is received is put aside anew for every backward pass, as a graph may be kept for another one.

    Args:
        states: names of the cell's states.
        vectors: whether the gradients themselves are wanted of a kernel, beside their norms.
        received: gives, during a backward pass, where to put what comes back of a state.
    """

    every_step = False

    def __init__(self, states: Sequence[str], vectors: bool, received: Callable[[str], ScanGradients]) -> None:
        self.states, self.vectors, self._received = states, vectors, received

    def step(self, k: int, states: States) -> None:
        for name, state in zip(self.states, states, strict=True):
            state.register_hook(partial(self._receive, name, k))

    def end(self, outputs: Tensor, history: list[States]) -> None:
        pass

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        received = self._received(state)
        if len(log2) == received.steps:
            received.norms = log2
            return
        if received.norms is None:
            received.norms = log2.new_full((received.steps, received.batch_size), -torch.inf)
        received.norms[first : first + len(log2)] = log2

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        received, gradients = self._received(state), torch.ldexp(mantissa.double(), exponent.unsqueeze(-1))
        if received.vectors is None:
            received.vectors = gradients.new_zeros(received.steps, *gradients.shape[1:])
        received.vectors[first : first + len(gradients)] = gradients

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        received = self._received(state)
        if received.underflowed is None:
            received.underflowed = where.new_zeros(received.steps, received.batch_size)
        received.underflowed[first : first + len(where)] = where

    def _receive(self, state: str, k: int, gradient: Tensor) -> None:
        self._received(state).vectors_by_step[k] = gradient.detach()
