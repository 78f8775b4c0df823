"""A trace: everything one layer did in a forward and a backward pass, so that probes can take its steps again."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.cells.weights import Note
from rnnlab.scan.order import Order

ROWS = 8192
"""Steps of single examples that are taken again in one go: bounds the memory of a replay."""


class Block(NamedTuple):
    """Steps that can be taken in one go; a row is one step of one example.

    Attributes:
        steps: (N,) index of each row's step, in the order of the scan.
        examples: (N,) each row's example, in the order of the scan.
        t: absolute time, for statistics kept per time step.
    """

    steps: Tensor
    examples: Tensor
    t: int


class Replay(NamedTuple):
    """Steps taken again from states and inputs that are leaves of a graph of their own.

    Attributes:
        before: the states that the steps read, (N, S) each.
        u: (N, G*H) the projected inputs.
        w: the weights, leaves too.
        after: the new states, (N, S) each.
        gates: each gate's pre-activations and values, (N, H).
        activations: the same of the other elementwise non-linearities.
    """

    before: States
    u: Tensor
    w: Weights
    after: States
    gates: dict[str, Note]
    activations: dict[str, Note]


@dataclass(eq=False)
class Trace:
    """One direction of one layer as it ran, forward and back.

    All tensors are detached and in the order of the scan (see `rnnlab.scan.order`); `place` leads back to time.

    Attributes:
        layer: counted through the whole model.
        direction: forward or reverse.
        cell: the equations.
        weights: the layer's tensors by name, as they were.
        x: (T, B, I) inputs.
        u: (T, B, G*H) projected inputs.
        before: (T, B, S) for each state: what every step read.
        after: (T, B, S) for each state: what every step made.
        total: (T, B, S) for each state: total gradient dL/ds_t.
        direct: (T, B, S) for each state: gradient that enters from outside the scan, through outputs and final states.
        dtype: of the gradients as they came back; the tensors here are float32 where they were less precise.
        call: number of the call, where the layer was called several times.
    """

    layer: int
    direction: str
    cell: Cell
    weights: dict[str, Tensor]
    training: bool
    start: int
    dilation: int
    order: Order
    noise: list[Tensor]
    x: Tensor
    u: Tensor
    before: States
    after: States
    total: States
    direct: States
    dtype: torch.dtype = torch.float32
    call: int = 0

    @property
    def steps(self) -> int:
        """T."""
        return self.x.shape[0]

    @property
    def time(self) -> np.ndarray:
        """(T,) absolute time of every step."""
        return self.start + np.arange(self.steps)

    @property
    def batch_size(self) -> int:
        """B."""
        return self.x.shape[1]

    @property
    def sizes(self) -> list[int]:
        """Number of active examples at every step; the active ones come first."""
        return self.order.sizes or [self.batch_size] * self.steps

    @property
    def lengths(self) -> Tensor:
        """(B,) number of steps of every example, in the order of the scan."""
        return (torch.tensor(self.sizes).unsqueeze(1) > torch.arange(self.batch_size)).sum(0)

    @property
    def mixes_examples(self) -> bool:
        """Whether states or inputs of one example depend on the others, so that it has no gradient of its own."""
        return self.couples_examples or (self.training and self.cell.couples_inputs)

    @property
    def couples_examples(self) -> bool:
        """Whether one example's step depends on the others of the batch."""
        return self.training and self.cell.couples_examples

    def blocks(self) -> Iterator[Block]:
        """Cut all active steps into blocks: many steps at once, or one by one where statistics are kept per step."""
        if self.cell.couples_examples:
            for k, size in enumerate(self.sizes):
                yield Block(torch.full((size,), k), torch.arange(size), self.start + k)
            return
        sizes = torch.tensor(self.sizes)
        steps = torch.arange(self.steps).repeat_interleave(sizes)
        examples = torch.cat([torch.arange(size) for size in self.sizes])
        for rows in torch.arange(len(steps)).split(ROWS):
            yield Block(steps[rows], examples[rows], self.start)

    def replay(self, block: Block) -> Replay:
        """Take the steps of a block again, as a graph whose leaves are states, projected inputs and weights."""
        at = (block.steps, block.examples)
        kept = self.cell.buffer_shapes(0)
        tensors = {name: t.clone() if name in kept else leaf(t) for name, t in self.weights.items()}
        w = Weights(tensors, self.training)
        w.gates, w.activations = {}, {}
        w.replayed = [noise[at] for noise in self.noise]
        before, u = tuple(leaf(state[at]) for state in self.before), leaf(self.u[at])
        with torch.enable_grad():
            after = self.cell.advance(w, u, before, block.t)
        return Replay(before, u, w, after, w.gates, w.activations)

    def pull_back(self, block: Block, cotangents: States) -> States:
        """Gradient at the states that the block's steps read, from gradients at those they made.

        Args:
            block: the steps.
            cotangents: (N, S) for each state.

        Returns:
            (N, S) for each state.
        """
        replay = self.replay(block)
        found = torch.autograd.grad(replay.after, replay.before, cotangents, allow_unused=True)
        return tuple(torch.zeros_like(s) if g is None else g for g, s in zip(found, replay.before, strict=True))

    @cached_property
    def adjoints(self) -> States:
        """Gradient at what every step hands on, (T, B, S) for each state, by back-propagation through time by hand.

        For the hidden state it equals the total gradient. For the cell state of an LSTM it leaves out the path
        through the output of the same step, which `total` includes.
        """
        found = tuple(direct.clone() for direct in self.direct)
        for k in range(self.steps - 1, self.dilation - 1, -1):
            size = self.sizes[k]
            block = Block(torch.full((size,), k), torch.arange(size), self.start + k)
            pulled = self.pull_back(block, tuple(a[k, :size] for a in found))
            for adjoint, gradient in zip(found, pulled, strict=True):
                adjoint[k - self.dilation, :size] += gradient
        return found

    def gather(self, block: Block, values: States) -> States:
        """Pick a block's rows from (T, B, S) tensors."""
        return tuple(value[block.steps, block.examples] for value in values)

    def place(self, parts: Sequence[tuple[Block, Tensor]]) -> Tensor:
        """Put values of blocks where they belong.

        Args:
            parts: blocks and their (N, ...) values.

        Returns:
            (T, B, ...) in the caller's order of time and examples; NaN where nothing was measured.
        """
        first = parts[0][1]
        placed = first.new_full((self.steps, self.batch_size, *first.shape[1:]), torch.nan)
        for block, values in parts:
            placed[block.steps, block.examples] = values.detach()
        return self.order.restore(placed)

    def in_time(self, values: Tensor) -> Tensor:
        """(T, B, ...) from the order of the scan to the caller's; NaN for examples that have ended."""
        values = values.clone()
        for k, size in enumerate(self.sizes):
            values[k, size:] = torch.nan
        return self.order.restore(values)

    def by_lag(self, values: Tensor) -> Tensor:
        """(T, B) from the order of the scan to lags: steps before each example's last; NaN beyond its first."""
        step = self.lengths - 1 - torch.arange(self.steps).unsqueeze(1)  # (T, B)
        found = values.gather(0, step.clamp(min=0).to(values.device))
        return found.masked_fill((step < 0).to(values.device), torch.nan)


@contextmanager
def plain_arithmetic(device: str = "cpu") -> Iterator[None]:
    """Compute as the tensors say, with graphs, whatever the caller has switched on around it."""
    autocast = torch.autocast(device, enabled=False) if torch.amp.is_autocast_available(device) else nullcontext()
    with torch.inference_mode(False), torch.enable_grad(), autocast:
        yield


def leaf(tensor: Tensor) -> Tensor:
    """A copy that starts a graph of its own."""
    return tensor.detach().clone().requires_grad_()
