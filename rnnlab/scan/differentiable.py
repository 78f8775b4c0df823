"""A backward pass made of torch's own operations, to be differentiated, followed or mapped: the kernels' cannot be."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.common.errors import UserError
from rnnlab.scan import reference
from rnnlab.scan.observer import Watch

NAMES = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


class _Keep:
    """Keeps the states of every step."""

    every_step, vectors = True, False

    def __init__(self) -> None:
        self.states: list[States] = []

    def step(self, k: int, states: States) -> None:
        self.states.append(states)

    def end(self, outputs: Tensor, history: list[States]) -> None:
        pass

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        pass

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        pass


def gradients(
    cell: Cell,
    sizes: Sequence[int] | None,
    tensors: Sequence[Tensor | None],
    upstream: Sequence[Tensor | None],
    needs: Sequence[bool],
    watches: Sequence[Watch],
) -> list[Tensor | None]:
    """Take the scan again under autograd and go back, with a graph if gradients are enabled.

    Args:
        cell: the equations.
        sizes: active examples of every step, if sequences differ in length.
        tensors: inputs, the four weights (none where absent) and the states before the first step.
        upstream: gradients of the outputs and the final states; none is zero.
        needs: which tensors need a gradient.
        watches: are given the norms of the total gradients, and follow the new graph, if any, from then on.

    Returns:
        Gradients of `tensors`, none where not needed.

    Raises:
        UserError: if somebody watches while many gradients are sent at once.
    """
    if watches and not all(torch._C._has_storage(g) for g in upstream if g is not None):
        raise UserError(
            "a layer is recorded while many gradients come back at once (is_grads_batched, vectorize, torch.vmap), "
            "which one profile cannot show: send them one at a time, or leave the record block out"
        )
    differentiate = torch.is_grad_enabled()
    x, *rest = tensors
    assert x is not None
    weights = {name: t for name, t in zip(NAMES, rest[:4], strict=True) if t is not None}
    w, keep = Weights(weights, True, None if sizes is None else list(sizes)), _Keep()
    with torch.enable_grad():
        y, (finals,) = reference.scan(cell, w, x, [tuple(t for t in rest[4:] if t is not None)], 0, [keep])
    pairs = [(out, g) for out, g in zip((y, *finals), upstream, strict=True) if g is not None]
    wanted = [t for t, need in zip(tensors, needs, strict=True) if need and t is not None]
    states = [s for states in keep.states for s in states] if watches else []
    found = torch.autograd.grad(
        [out for out, _ in pairs],
        [*wanted, *states],
        [g for _, g in pairs],
        create_graph=differentiate,
        allow_unused=True,
    )
    for watch in watches:
        _report(watch, cell, keep.states, found[len(wanted) :], x.shape[1])
        if not differentiate:
            continue
        watch.vectors = True  # a later pass comes through this graph and the kernel's: gradients add, norms do not
        for k, made in enumerate(keep.states):
            watch.step(k, made)
    each = iter(found)
    return [next(each) if need and t is not None else None for t, need in zip(tensors, needs, strict=True)]


def _report(watch: Watch, cell: Cell, states: list[States], found: Sequence[Tensor | None], batch_size: int) -> None:
    for i, name in enumerate(cell.states):
        gradient = states[0][i].new_zeros(len(states), batch_size, cell.state_sizes[i])
        for k, g in enumerate(found[i :: len(cell.states)]):
            if g is not None:
                gradient[k, : len(g)] = g.detach()
        exponent = torch.frexp(gradient.abs().amax(-1)).exponent
        scaled = torch.ldexp(gradient, -exponent.unsqueeze(-1))
        watch.norms(name, scaled.double().norm(dim=-1).log2() + exponent)
        if watch.vectors:
            watch.gradients(name, scaled, exponent)
