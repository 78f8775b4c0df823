"""The networks of runs of one shape: their weights as rows of one matrix, updated together."""

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from rnnlab.config.optimizers import Optimizer
from rnnlab.layers.recurrent import Recurrent
from rnnlab.layers.stacks import recurrent_layers
from rnnlab.tasks import Batch, Task
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import EncoderDecoder, SequenceModel

Network = SequenceModel | EncoderDecoder
CONSTRAINED = ".parametrizations."
"""In the name of what torch's parametrisations compute a weight of."""


class Program:
    """P networks that differ in numbers alone.

    A network's weights, their gradient and what its optimiser keeps are a row each. A gradient is computed by the
    network alone, or for many by one pass over the examples of all, which gives the same bits.

    Attributes:
        networks: those that rows are handed out to.
        weights: (P, N), recurrent matrices first.
        gradient: (P, N).
        moments: (P, N) each; see `rnnlab.config.optimizers`.
    """

    def __init__(self, network: Network, optimizer: Optimizer) -> None:
        named = {name: p for name, p in network.named_parameters() if p.requires_grad}
        self.names = sorted(named, key=lambda name: "weight_hh" not in name)
        self.shapes = [named[name].shape for name in self.names]
        self.sizes = [named[name].numel() for name in self.names]
        self.recurrent = sum(size for name, size in zip(self.names, self.sizes, strict=True) if "weight_hh" in name)
        self.networks: list[Network] = []
        self._parameters: list[list[nn.Parameter]] = []
        self._stacks: list[list[Recurrent]] = []
        self.weights = self.gradient = next(iter(named.values())).detach().new_empty(0, sum(self.sizes))
        self.moments = tuple(torch.empty_like(self.weights) for _ in optimizer.moments)
        self._template: Network | None = None

    def join(self, network: Network, moments: Sequence[Tensor]) -> None:
        """Take in a network.

        Args:
            network: of the shape of the others.
            moments: (N,) each, what its optimiser has kept; empty before the first update.
        """
        parameters = [network.get_parameter(name) for name in self.names]
        row = torch.cat([p.detach().flatten() for p in parameters])
        kept = [m.to(row.device) for m in moments] or [torch.zeros_like(row) for _ in self.moments]
        before, new = (self.weights, self.gradient, *self.moments), (row, torch.zeros_like(row), *kept)
        weights, gradient, *stacked = (torch.cat([m, one[None]]) for m, one in zip(before, new, strict=True))
        # All or nothing: had memory ended above, those who are here and those who come would not be theirs any more.
        self.weights, self.gradient, self.moments = weights, gradient, tuple(stacked)
        self.networks.append(network)
        self._parameters.append(parameters)
        self._stacks.append(recurrent_layers(network)[0])

    def keep(self, rows: Sequence[int]) -> None:
        """Let all networks go but those of some rows."""
        self.networks = [self.networks[row] for row in rows]
        self._parameters = [self._parameters[row] for row in rows]
        self._stacks = [self._stacks[row] for row in rows]
        kept = torch.tensor(rows, dtype=torch.int64, device=self.weights.device)
        self.weights, self.gradient, *moments = (
            t.index_select(0, kept) for t in (self.weights, self.gradient, *self.moments)
        )
        self.moments = tuple(moments)

    @torch.no_grad()
    def hand_out(self, row: int) -> None:
        """Give a network its present weights."""
        parts = self.weights[row].split(self.sizes)
        for parameter, part in zip(self._parameters[row], parts, strict=True):
            parameter.copy_(part.view_as(parameter))

    def go_back_alone(self, row: int, backpropagate: Callable[[], Tensor]) -> Tensor:
        """Compute the gradient of one network, by whatever accumulates it in the network's own weights."""
        self.hand_out(row)
        parameters = self._parameters[row]
        for parameter in parameters:
            parameter.grad = None
        loss = backpropagate()
        torch.cat([_gradient(p).flatten() for p in parameters], out=self.gradient[row])
        return loss

    def go_back_together(
        self,
        rows: Sequence[int],
        task: Task,
        batches: Sequence[Batch],
        remedies: Sequence[Any],
        states: Any,
    ) -> Tensor:
        """Compute the gradients of several networks in one pass.

        Args:
            rows: whose.
            task: gives the loss.
            batches: one for each.
            remedies: those that act on the graph.
            states: those before the first step, the examples of one network after those of another; zeros if none.

        Returns:
            (P,) the mean loss of each.
        """
        if self._template is None:
            self._template = copy.deepcopy(self.networks[0])
        template, networks = self._template, [self.networks[row] for row in rows]
        stacks = zip(recurrent_layers(template)[0], *(self._stacks[row] for row in rows), strict=True)
        for layer, *members in stacks:
            layer.members = members
        leaves = self._leaves(rows)
        names = [name for name, _ in template.named_buffers() if CONSTRAINED not in name]
        buffers = {name: torch.stack([n.get_buffer(name) for n in networks]) for name in names}

        def network(*arguments: Any) -> Any:
            return functional_call(template, {**leaves, **buffers}, arguments)

        together = Batch(*(torch.cat(each, 1) for each in zip(*batches, strict=True)))
        losses = backpropagate(network, task, together, remedies, states, members=len(rows))
        gradient = self._gathered(rows, leaves)
        if len(rows) == len(self.weights):
            self.gradient = gradient
        else:
            self.gradient[list(rows)] = gradient
        for name, stacked in buffers.items():
            for own, kept in zip(networks, stacked, strict=True):
                own.get_buffer(name).copy_(kept)
        return losses

    def _leaves(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """The weights that one pass reads, stacked; those that a member computes something of are handed out to it."""
        chosen = self.weights if len(rows) == len(self.weights) else self.weights[list(rows)]
        leaves = dict[str, Tensor]()
        for k, part in enumerate(chosen.split(self.sizes, 1)):
            if CONSTRAINED not in self.names[k]:
                leaves[self.names[k]] = part.reshape(len(rows), *self.shapes[k]).contiguous().requires_grad_()
                continue
            for row, own in zip(rows, part, strict=True):
                self._parameters[row][k].data.copy_(own.view(self.shapes[k]))
                self._parameters[row][k].grad = None
        return leaves

    def _gathered(self, rows: Sequence[int], leaves: Mapping[str, Tensor]) -> Tensor:
        """(P, N) gradients that one pass has left."""
        parts = []
        for k, name in enumerate(self.names):
            if name in leaves:
                parts.append(_gradient(leaves[name]).flatten(1))
            else:
                parts.append(torch.stack([_gradient(self._parameters[row][k]).flatten() for row in rows]))
        return torch.cat(parts, 1)

    def update(
        self, rows: Sequence[int], optimizers: Sequence[Optimizer], rates: Sequence[float], counts: Sequence[int]
    ) -> None:
        """Let the optimisers change the weights.

        Args:
            rows: whose, in ascending order; their gradients are finite.
            optimizers: one for each, alike but for their numbers.
            rates: learning rates.
            counts: updates done, this one included.
        """
        if not rows:
            return
        every = len(rows) == len(self.weights)
        tensors = [self.weights, self.gradient, *self.moments]
        chosen = tensors if every else [t[list(rows)] for t in tensors]
        apart = any(optimizer.recurrent != 1 for optimizer in optimizers)
        blocks = (slice(0, self.recurrent), slice(self.recurrent, None)) if apart else (slice(None),)
        for block in blocks:
            factors = [o.recurrent if apart and block.start == 0 else 1.0 for o in optimizers]
            numbers = [
                optimizer.numbers(rate * factor, count)
                for optimizer, rate, factor, count in zip(optimizers, rates, factors, counts, strict=True)
            ]
            columns = torch.tensor(numbers, dtype=torch.float64).to(self.weights).split(1, dim=1)
            weights, gradient, *moments = (t[:, block] for t in chosen)
            optimizers[0].update(weights, gradient, tuple(moments), columns)
        if not every:
            for tensor, part in zip((self.weights, *self.moments), (chosen[0], *chosen[2:]), strict=True):
                tensor[list(rows)] = part


def _gradient(leaf: Tensor) -> Tensor:
    """Zero where none has come."""
    return torch.zeros_like(leaf) if leaf.grad is None else leaf.grad
