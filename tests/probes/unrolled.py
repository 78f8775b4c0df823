"""Back-propagation through time the slow way: a plain loop in which every step has weights of its own."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from rnnlab.cells import States, Weights
from rnnlab.layers.recurrent import Recurrent

Loss = Callable[[Tensor, States], Tensor]


class Unrolled(NamedTuple):
    """What a loop over a layer computed; nothing of it has been differentiated yet.

    Attributes:
        states: the new states of every step, parts of the graph.
        weights: every step's copy of the weights, leaves.
        outputs: (T, B, O).
    """

    states: list[States]
    weights: list[dict[str, Tensor]]
    outputs: Tensor

    def gradients(self, loss: Tensor, state: int = 0) -> list[Tensor]:
        """dL/ds_t at every step, zeros where none arrives."""
        steps = [states[state] for states in self.states]
        found = torch.autograd.grad(loss, steps, retain_graph=True, allow_unused=True)
        return [torch.zeros_like(s) if g is None else g for g, s in zip(found, steps, strict=True)]


def unroll(net: Recurrent, x: Tensor) -> Unrolled:
    """Run the forward direction of a layer's only stack over (T, B, I), in evaluation or without noise."""
    cell, dilation = net.cell, net.dilation[0]
    tensors = {name: tensor.detach() for name, tensor in net.weights().tensors.items()}
    kept = cell.buffer_shapes(0)
    made: list[States] = []
    copies: list[dict[str, Tensor]] = []
    for t in range(len(x)):
        own = {name: v.clone() if name in kept else v.clone().requires_grad_() for name, v in tensors.items()}
        w = Weights(own, net.training)
        old = made[t - dilation] if t >= dilation else cell.initial_states(x.shape[1], x)
        made.append(cell.advance(w, cell.project(w, x[t : t + 1], t)[0], old, t))
        copies.append(own)
    outputs = cell.emit(net.weights(), torch.stack([states[0] for states in made]), x)
    return Unrolled(made, copies, outputs)


def last_step(output: Tensor, states: States) -> Tensor:
    """A loss at the last step alone."""
    del states
    return output[-1].square().sum()


def everywhere(output: Tensor, states: States) -> Tensor:
    """A loss at every step, and at the states after the last."""
    return output.sin().sum() + sum((s.square().sum() for s in states), torch.zeros((), dtype=output.dtype))
