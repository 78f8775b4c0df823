"""Stacked members one by one by the reference scan, and what observers are told of all of them at once."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from rnnlab.cells import Cell, MemberWeights, States, Weights
from rnnlab.common import torch_private
from rnnlab.common.errors import UserError
from rnnlab.scan import reference
from rnnlab.scan.apart import apart, together
from rnnlab.scan.differentiable import Again, gradients, report, totals
from rnnlab.scan.observer import ScanObserver


def scan(
    cells: Sequence[Cell],
    w: MemberWeights,
    x: Tensor,
    history: Sequence[States],
    start: int = 0,
    observers: Sequence[ScanObserver] = (),
) -> tuple[Tensor, list[States]]:
    """Run each member over its sequences; see `rnnlab.scan.scan_members` for the arguments and what is returned."""
    hooks = _Hooks(cells, w.sizes or [x.shape[-2]] * x.shape[-3], history[0], observers) if observers else None
    inputs, befores = apart(x), [[apart(s) for s in states] for states in history]
    results = []
    for p, (cell, own) in enumerate(zip(cells, layers(cells[0], w), strict=True)):
        before = [tuple(s[p] for s in states) for states in befores]
        seen = [_Member(hooks, p)] if hooks else []
        results.append(reference.scan(cell, own, inputs[p], before, start, seen))
    after = [
        tuple(together([states[phase][i] for _, states in results]) for i in range(len(cells[0].states)))
        for phase in range(len(history))
    ]
    return together([y for y, _ in results]), after


def layers(cell: Cell, w: MemberWeights) -> list[Weights]:
    """The weights of every member; running statistics stay where they are, to be brought up to date."""
    kept = cell.buffer_shapes(1)
    parts = {name: list(t.unbind(0)) if name in kept else apart(t) for name, t in w.tensors.items()}
    return [
        Weights({name: each[p] for name, each in parts.items()}, w.training, w.sizes, w.generator_of(p))
        for p in range(len(next(iter(w.tensors.values()))))
    ]


class _Hooks:
    """Gathers the total gradients of all members in a backward pass, and tells observers when it is over.

    Args:
        cells: of the members.
        rows: active examples of every step.
        states: (P, B, S) each, of any step.
        observers: are told.
    """

    def __init__(
        self, cells: Sequence[Cell], rows: Sequence[int], states: States, observers: Sequence[ScanObserver]
    ) -> None:
        self.cells, self.rows, self.observers = cells, rows, observers
        self.zeros = [torch.zeros_like(s[0]) for s in states]
        self.found: dict[tuple[int, int, int], Tensor] = {}
        self.task: int | None = None

    def receive(self, place: tuple[int, int, int], gradient: Tensor) -> None:
        """Take up what has come back to a state of a member at a step."""
        if self.task != torch_private.graph_task() or not self.found:
            self.task, self.found = torch_private.graph_task(), {}
            torch_private.after_backward(self.tell)
        self.found[place] = gradient.detach()

    def tell(self) -> None:
        """Called when the backward pass is over."""
        found, self.found = self.found, {}
        steps = range(len(self.rows))
        for i, (name, zero) in enumerate(zip(self.cells[0].states, self.zeros, strict=True)):
            each = [totals([found.get((p, i, k)) for k in steps], self.rows, zero) for p in range(len(self.cells))]
            report(self.observers, name, torch.stack([g for g, _ in each]), each[0][1])


class _Member:
    """Follows the reference scan of one member.

    Args:
        hooks: gather what comes back.
        member: its number.
    """

    every_step = vectors = False

    def __init__(self, hooks: _Hooks, member: int) -> None:
        self.hooks, self.member = hooks, member

    def step(self, k: int, states: States) -> None:
        for i, state in enumerate(states):
            if state.requires_grad:
                state.register_hook(partial(self.hooks.receive, (self.member, i, k)))

    def end(self, outputs: Tensor, history: list[States]) -> None:
        pass

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        pass

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        pass

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        pass


def member_gradients(
    again: Sequence[Again],
    cells: Sequence[Cell],
    tensors: Sequence[Tensor | None],
    upstream: Sequence[Tensor | None],
    needs: Sequence[bool],
    observers: Sequence[ScanObserver],
) -> list[Tensor | None]:
    """Take the scan of each member again and go back; see `gradients` for the arguments, here with members stacked.

    Raises:
        UserError: if somebody observes, who would see one member in place of all.
    """
    if observers:
        raise UserError(
            "stacked members are recorded while somebody differentiates their backward pass (create_graph), or sends "
            "many gradients at once, which one profile cannot show: record members one at a time"
        )
    own, given = _by_member(tensors, len(cells)), _by_member(upstream, len(cells))
    each = [gradients(a, c, t, g, needs, ()) for a, c, t, g in zip(again, cells, own, given, strict=True)]
    return [
        None if any(g is None for g in members) else together(members)  # type: ignore[arg-type]
        for members in zip(*each, strict=True)
    ]


def _by_member(stacked: Sequence[Tensor | None], members: int) -> list[tuple[Tensor | None, ...]]:
    parts = [[None] * members if t is None else apart(t) for t in stacked]
    return list(zip(*parts, strict=True))
