"""A backward pass made of torch's own operations, to be differentiated, followed or mapped: the kernels' cannot be."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from rnnlab.cells import Cell, States, Weights
from rnnlab.common import torch_private
from rnnlab.common.errors import UserError
from rnnlab.scan import reference
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.shadow import underflowed


class ScanTensors(NamedTuple):
    """The tensors that a scan reads, none where absent, or something about each, such as whether it needs a gradient.

    Autograd gets them one after the other, in this order.
    """

    x: Any
    weight_ih: Any
    weight_hh: Any
    bias_ih: Any
    bias_hh: Any
    starts: tuple[Any, ...]
    """The states before the first step."""

    @classmethod
    def of(cls, each: Iterable[Any]) -> Self:
        """From one after the other."""
        x, weight_ih, weight_hh, bias_ih, bias_hh, *starts = each
        return cls(x, weight_ih, weight_hh, bias_ih, bias_hh, tuple(starts))

    @property
    def weights(self) -> dict[str, Any]:
        """The weights by name."""
        return {name: getattr(self, name) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}


class KeepStates:
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

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        pass


Again = Callable[[Sequence[Tensor], Sequence[ScanObserver]], tuple[Tensor, Sequence[Tensor]]]
"""Takes a scan of these tensors by the reference, and returns its outputs and final states."""


def by_reference(
    cell: Cell, sizes: Sequence[int] | None, tensors: Sequence[Tensor | None], observers: Sequence[ScanObserver]
) -> tuple[Tensor, Sequence[Tensor]]:
    """Take the scan of a kernel's `ScanTensors` by the reference."""
    operands = ScanTensors.of(tensors)
    weights = {name: t for name, t in operands.weights.items() if t is not None}
    w = Weights(weights, True, None if sizes is None else list(sizes))
    y, (finals,) = reference.scan(cell, w, operands.x, [operands.starts], 0, observers)
    return y, finals


def gradients(
    again: Again,
    cell: Cell,
    tensors: Sequence[Tensor | None],
    upstream: Sequence[Tensor | None],
    needs: Sequence[bool],
    observers: Sequence[ScanObserver],
) -> list[Tensor | None]:
    """Take the scan again under autograd and go back, with a graph if gradients are enabled.

    Args:
        again: takes the scan.
        cell: the equations.
        tensors: what it reads, inputs first.
        upstream: gradients of the outputs and the final states; none is zero.
        needs: which tensors need a gradient.
        observers: are given the norms of the total gradients, and follow the new graph, if any, from then on.

    Returns:
        Gradients of `tensors`, none where not needed.

    Raises:
        UserError: if a layer is observed while many gradients are sent at once.
    """
    if observers and not all(torch_private.has_storage(g) for g in upstream if g is not None):
        raise UserError(
            "a layer is recorded while many gradients come back at once (is_grads_batched, vectorize, torch.vmap), "
            "which one profile cannot show: send them one at a time, or leave the record block out"
        )
    differentiate = torch.is_grad_enabled()
    keep = KeepStates()
    with torch.enable_grad():
        y, finals = again(tensors, [keep])  # type: ignore[arg-type]
    pairs = [(out, g) for out, g in zip((y, *finals), upstream, strict=True) if g is not None]
    wanted = [t for t, need in zip(tensors, needs, strict=True) if need and t is not None]
    states = [s for states in keep.states for s in states] if observers else []
    found = torch.autograd.grad(
        [out for out, _ in pairs],
        [*wanted, *states],
        [g for _, g in pairs],
        create_graph=differentiate,
        allow_unused=True,
    )
    for i, name in enumerate(cell.states if observers else ()):
        own, rows = found[len(wanted) + i :: len(cell.states)], [len(states[i]) for states in keep.states]
        report(observers, name, *totals(own, rows, keep.states[0][i].new_zeros(y.shape[1], cell.state_sizes[i])))
    for observer in observers if differentiate else ():
        observer.vectors = True  # a later pass comes through this graph and the kernel's: gradients add, norms do not
        for k, made in enumerate(keep.states):
            observer.step(k, made)
    each = iter(found)
    return [next(each) if need and t is not None else None for t, need in zip(tensors, needs, strict=True)]


def totals(found: Sequence[Tensor | None], rows: Sequence[int], zero: Tensor) -> tuple[Tensor, Tensor]:
    """Put the total gradients of one state at every step together.

    Args:
        found: (b, S) at each step, of the examples that were active; none is zero.
        rows: how many these were.
        zero: (B, S), what none stands for.

    Returns:
        (T, B, S), zero for examples that had ended, and (T, B) which were active.
    """
    gradient = zero.new_zeros(len(rows), *zero.shape)
    for k, g in enumerate(found):
        if g is not None:
            gradient[k, : len(g)] = g.detach()
    return gradient, torch.arange(len(zero)) < torch.tensor(rows).unsqueeze(1)


def report(observers: Sequence[ScanObserver], state: str, gradient: Tensor, active: Tensor) -> None:
    """Tell observers of the total gradients of one state.

    Args:
        observers: are told.
        state: its name.
        gradient: (T, B, S); members, if any, come first.
        active: (T, B) which examples took the step.
    """
    seen = measure(gradient, active)
    for observer in observers:
        observer.norms(state, seen.log2)
        if observer.vectors:
            observer.gradients(state, seen.mantissa, seen.exponent)
        if seen.underflowed.any():
            observer.underflowed(state, seen.underflowed)


class Measured(NamedTuple):
    """Total gradients of one state as observers are told of them; see `ScanObserver`."""

    log2: Tensor
    mantissa: Tensor
    exponent: Tensor
    underflowed: Tensor


def measure(gradient: Tensor, active: Tensor | None) -> Measured:
    """Sizes of total gradients that came in their own dtype.

    Args:
        gradient: (T, B, S); members, if any, come first.
        active: (T, B) which examples took the step; none if all did.
    """
    exponent = torch.frexp(gradient.abs().amax(-1)).exponent
    scaled = torch.ldexp(gradient, -exponent.unsqueeze(-1))
    log2 = scaled.double().norm(dim=-1).log2() + exponent
    if active is not None:
        log2 = log2.masked_fill(~active.to(gradient.device), torch.nan)
    return Measured(log2, scaled, exponent, underflowed(gradient))
