"""Tangents: what a small change of weights and states makes of a step, many changes at once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnlab.cells import States, Weights
from rnnlab.probes.trace import Block, Trace, leaf

Directions = dict[str, Tensor]
"""By weight, (R, *shape): R changes of all weights."""


def trained(trace: Trace) -> list[str]:
    """Names of the weights that are no statistics."""
    return [name for name in trace.weights if name not in trace.cell.buffer_shapes(0)]


def step_tangents(trace: Trace, block: Block, directions: Directions, before: States | None = None) -> States:
    """Change of the new states of a block's steps with the weights, the input projection included.

    Args:
        trace: one direction of one layer.
        block: the steps.
        directions: changes of weights.
        before: (R, N, S) for each state, changes of what the steps read; none for zeros.

    Returns:
        (R, N, S) for each state.
    """
    changes = list(directions.values())
    replay = trace.replay(block)
    leaves = {n: leaf(t) if n in directions else t.clone() for n, t in trace.weights.items()}
    with torch.enable_grad():
        x = trace.x[block.steps, block.examples].unsqueeze(0)  # one step of N rows
        u = trace.cell.project(Weights(leaves, trace.training), x, block.t)
    (through_input,) = _push([u], [leaves[name] for name in directions], changes)
    inputs, tangents = [replay.w.tensors[name] for name in directions], changes
    if before is not None:
        inputs, tangents = [*inputs, *replay.before], [*tangents, *before]
    return tuple(_push(replay.after, [*inputs, replay.u], [*tangents, through_input.squeeze(1)]))


def _push(outputs: Sequence[Tensor], inputs: Sequence[Tensor], tangents: Sequence[Tensor]) -> list[Tensor]:
    """Carry tangents, (R, *shape) of each input, forward to (R, *shape) of each output.

    A pull-back is linear in its cotangents, and the derivative of that linear map, pulled back once more, is the way
    forward: any operation with second derivatives can be passed.
    """
    cotangents = [torch.zeros_like(output, requires_grad=True) for output in outputs]
    with torch.enable_grad():
        pulled = torch.autograd.grad(outputs, inputs, cotangents, create_graph=True, allow_unused=True)
    known = [(p, t) for p, t in zip(pulled, tangents, strict=True) if p is not None and p.requires_grad]
    zeros = [output.new_zeros(len(tangents[0]), *output.shape) for output in outputs]
    if not known:
        return zeros
    found = torch.autograd.grad(
        [p for p, _ in known], cotangents, [t for _, t in known], is_grads_batched=True, allow_unused=True
    )
    return [zero if f is None else f for f, zero in zip(found, zeros, strict=True)]
