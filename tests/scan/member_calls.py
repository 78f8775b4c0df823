"""Layers by name and seed, run one by one or stacked, and everything that they yield."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from compiled_calls import draw
from torch import Tensor

from rnnlab.cells import Cell, MemberWeights, States, Weights
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import scan, scan_members
from rnnlab.scan.observer import ScanObserver

T, B, I, H = 12, 5, 3, 9
HOT: list[tuple[str, dict]] = [
    ("gru", {}),
    ("lstm", {}),
    ("lstm", {"forget_gate": False}),
    ("vanilla", {"activation": "relu", "residual": 0.5}),
]
SLOW: list[tuple[str, dict]] = [("unitary", {}), ("unitary", {"zoneout": 0.2})]


class Norms:
    """Notes what observers of a scan are told."""

    every_step, vectors = False, False

    def __init__(self) -> None:
        self.found: dict[str, Tensor] = {}

    def step(self, k: int, states: States) -> None:
        pass

    def end(self, outputs: Tensor, history: list[States]) -> None:
        pass

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None:
        self.found[state] = log2

    def gradients(self, state: str, mantissa: Tensor, exponent: Tensor, first: int = 0) -> None:
        self.found[f"vector {state}"] = torch.ldexp(mantissa.double(), exponent.unsqueeze(-1))

    def underflowed(self, state: str, where: Tensor, first: int = 0) -> None:
        pass


class Member(NamedTuple):
    """One layer and what it reads.

    Attributes:
        cell: its equations.
        tensors: its weights and running statistics.
        x: (T, B, I).
        history: its states before the first step.
        seed: of its noise.
    """

    cell: Cell
    tensors: dict[str, Tensor]
    x: Tensor
    history: list[States]
    seed: int


def member(seed: int, kind: str, options: dict[str, Any], dilation: int = 1) -> Member:
    """A layer that depends on its seed alone; none of its tensors begins where another ends."""
    net = Recurrent(kind, I, H, steps=T - 2, generator=torch.Generator().manual_seed(seed), **options)
    like = net.cell.initial_states(B, torch.zeros(()))
    history = [
        tuple(0.3 * draw(*s.shape, seed=seed + 7 * i + p).float() for i, s in enumerate(like)) for p in range(dilation)
    ]
    tensors = {name: t.detach().clone() for name, t in net.weights().tensors.items()}
    return Member(net.cell, tensors, draw(T, B, I, seed=seed + 1).float(), history, seed)


def results(
    members: Sequence[Member], together: bool, sizes: list[int] | None = None, finals_only: bool = False
) -> list[dict[str, Tensor]]:
    """Everything that each member yields: alone with no dimension for members, or all at once."""
    if not together:
        return [_of(_results([one], False, sizes, finals_only), None) for one in members]
    found = _results(members, True, sizes, finals_only)
    return [_of(found, p) for p in range(len(members))]


def _of(found: dict[str, Tensor], p: int | None) -> dict[str, Tensor]:
    return {name: t if p is None else t[p] for name, t in found.items()}


def _results(
    members: Sequence[Member], together: bool, sizes: list[int] | None, finals_only: bool
) -> dict[str, Tensor]:
    first, norms = members[0], Norms()

    def joined(each: Sequence[Tensor]) -> Tensor:
        return torch.stack(list(each)) if together else each[0].clone()

    kept = first.cell.buffer_shapes(1)
    tensors = {n: joined([m.tensors[n] for m in members]).requires_grad_(n not in kept) for n in first.tensors}
    x = joined([m.x for m in members]).requires_grad_()
    history = [
        tuple(joined([m.history[p][i] for m in members]).requires_grad_() for i in range(len(states)))
        for p, states in enumerate(first.history)
    ]
    generators = [torch.Generator().manual_seed(m.seed) for m in members]
    observers: list[ScanObserver] = [norms]
    if together:
        cells = [m.cell for m in members]
        y, after = scan_members(cells, MemberWeights(tensors, True, sizes, generators), x, history, 1, observers)
    else:
        y, after = scan(first.cell, Weights(tensors, True, sizes, generators[0]), x, history, 1, observers)
    ends = [s for states in after for s in states]
    outputs = ends if finals_only else [y, *ends]
    loss = sum((t * draw(*t.shape[together:], seed=i).float()).sum() for i, t in enumerate(outputs))
    loss.backward()  # type: ignore[union-attr]
    found = {"y": y} | {f"end {i}": s for i, s in enumerate(ends)} | {"dx": x.grad}
    found |= {f"start {i}": s.grad for i, s in enumerate(s for states in history for s in states)}
    found |= {n: t if n in kept else t.grad for n, t in tensors.items()}
    return {n: t.detach() for n, t in (found | norms.found).items() if t is not None}


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Equal to the bit."""
    for name in expected.keys() & found.keys():
        assert torch.equal(found[name].nan_to_num(7.0), expected[name].nan_to_num(7.0)), name
    assert found.keys() == expected.keys()
