"""Stacked members, run at once, each give to the bit what they give alone and in any other company."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import pytest
import torch
from compiled_calls import CELLS, draw
from torch import Tensor

from rnnlab.cells import Cell, MemberWeights, States, Weights, make_cell
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import compiled, native, scan, scan_members
from rnnlab.scan.native.build import has_compiler
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.shadow import Shadows

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")

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


@needs_compiler
@pytest.mark.parametrize(("kind", "options"), [*HOT, *CELLS], ids=str)
def test_members_are_to_the_bit_what_they_are_alone(kind, options):
    each = [member(seed, kind, options) for seed in range(8)]
    engine = native if (kind, options) in HOT else compiled
    cells = [m.cell for m in each]
    w = MemberWeights({n: torch.stack([m.tensors[n] for m in each]) for n in each[0].tensors}, True)
    history = [tuple(torch.stack([m.history[0][i] for m in each]) for i in range(len(each[0].history[0])))]
    assert engine.supports(cells[0], w, torch.stack([m.x for m in each]), history, cells)
    alone = results(each, False)
    for count in (1, 3, 8):
        for found, expected in zip(results(each[:count], True), alone, strict=False):
            same(found, expected)
    for found, expected in zip(results(each[::-1], True), alone[::-1], strict=True):
        same(found, expected)


@needs_compiler
@pytest.mark.parametrize(("kind", "options"), [HOT[1], ("lem", {"zoneout": 0.2}), ("lstm", {"norm": "batch"})], ids=str)
def test_with_shorter_sequences_and_dilation_too(kind, options):
    sizes = [5, 5, 5, 5, 4, 4, 4, 3, 2, 2, 2, 2]
    for dilation in (1, 3):
        each = [member(seed, kind, options, dilation) for seed in range(3)]
        for found, expected in zip(results(each, True, sizes), results(each, False, sizes), strict=True):
            same(found, expected)


@needs_compiler
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("kind", ["lstm", "lem"])
def test_with_any_number_of_threads(kind, threads, monkeypatch):
    monkeypatch.setattr("rnnlab.scan.native.kernels.PARALLEL_WORK", 1000)
    before, each = torch.get_num_threads(), [member(seed, kind, {}) for seed in range(5)]
    try:
        torch.set_num_threads(threads)
        for found, expected in zip(results(each, True), results(each, False), strict=True):
            same(found, expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.filterwarnings("ignore:'unitary' cells run on the slower reference scan")
@pytest.mark.parametrize(("kind", "options"), SLOW, ids=str)
def test_the_reference_serves_what_no_kernel_can(kind, options):
    """Norms come by hooks here, which a single layer's observer sets for itself."""
    each = [member(seed, kind, options) for seed in range(3)]
    alone = results(each, False)
    for found, expected in zip(results(each, True), alone, strict=True):
        assert found.pop("h").shape == (T, B)
        same(found, expected)


def test_norms_of_the_reference_are_those_of_the_gradients():
    each = [member(seed, "unitary", {}) for seed in range(2)]
    found = results(each, True, finals_only=True)
    for one, own in zip(each, found, strict=True):
        totals: dict[int, Tensor] = {}
        tensors = {n: t.clone().requires_grad_() for n, t in one.tensors.items()}

        class Hooks(Norms):
            def step(self, k: int, states: States, totals: dict[int, Tensor] = totals) -> None:
                states[0].register_hook(lambda g: totals.__setitem__(k, g))

        _, [(end,)] = scan(one.cell, Weights(tensors, True), one.x, one.history, 1, [Hooks()])
        (end * draw(*end.shape).float()).sum().backward()
        expected = torch.stack([totals[k] for k in range(T)]).double().norm(dim=-1).log2()
        torch.testing.assert_close(own["h"], expected, rtol=0, atol=1e-6)


@needs_compiler
@pytest.mark.parametrize(
    ("kind", "name", "values"),
    [
        ("lem", "dt", (0.1, 0.7, 1.0)),
        ("vanilla", "residual", (0.2, 0.9, 0.5)),
        ("gru", "zoneout", (0.1, 0.5, 0.3)),
        ("antisymmetric", "gamma", (0.0, 0.2, 0.1)),
    ],
)
def test_numbers_may_differ(kind, name, values):
    each = [member(seed, kind, {name: value}) for seed, value in enumerate(values)]
    for found, expected in zip(results(each, True), results(each, False), strict=True):
        same(found, expected)


@needs_compiler
@pytest.mark.parametrize("kind", ["lstm", "lem", "lru"])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_what_is_not_finite_touches_no_other_member(kind, value):
    each = [member(seed, kind, {}) for seed in range(3)]
    alone = results(each, False)
    next(iter(each[1].tensors.values())).view(-1)[2] = value
    found = results(each, True)
    assert not torch.equal(found[1]["y"], alone[1]["y"])
    for p in (0, 2):
        same(found[p], alone[p])


@needs_compiler
@pytest.mark.parametrize("kind", ["gru", "lem"])
def test_a_loss_of_the_last_states_needs_no_gradient_of_the_outputs(kind):
    each = [member(seed, kind, {}) for seed in range(3)]
    alone = results(each, False, finals_only=True)
    for found, expected in zip(results(each, True, finals_only=True), alone, strict=True):
        same(found, expected)


@needs_compiler
@pytest.mark.parametrize("kind", ["lstm", "lem"])
def test_norms_below_the_dtype_come_through_a_stack_of_each_member(kind):
    """Of three members the second has a loss so small that nothing but its shadow arrives at the lower layer."""
    cell, scales = make_cell(kind, hidden_size=I), (1.0, 1e-36, 1e-30)
    layers = [Recurrent(cell, I, steps=T, generator=torch.Generator().manual_seed(seed)) for seed in range(6)]
    w = [{n: t.detach().clone() for n, t in net.weights().tensors.items()} for net in layers]

    def norms(members: Sequence[int], together: bool) -> dict[str, Tensor]:
        log = Norms()

        def of(number: int) -> Weights:
            own = [w[2 * p + number] for p in members]
            return (MemberWeights if together else Weights)({n: joined([t[n] for t in own]) for n in own[0]}, True)

        def joined(each: Sequence[Tensor]) -> Tensor:
            return (torch.stack(list(each)) if together else each[0].clone()).requires_grad_()

        def run(number: int, x: Tensor, own: Shadows, observers: Sequence[ScanObserver]) -> Tensor:
            states = tuple(joined([torch.zeros(B, I)] * len(members)) for _ in cell.states)
            if together:
                cells, weights = [cell] * len(members), of(number)
                assert isinstance(weights, MemberWeights)
                return scan_members(cells, weights, x, [states], 0, observers, own)[0]
            return scan(cell, of(number), x, [states], 0, observers, own)[0]

        lower = Shadows()
        y = run(0, joined([draw(T, B, I, seed=p).float() for p in members]), lower, [log])
        y = run(1, y, Shadows(lower.y, ()), [Norms()])
        upstream = [draw(T, B, I).float() * scales[p] for p in members]
        y.backward(torch.stack(upstream) if together else upstream[0])
        return log.found

    found = norms([0, 1, 2], True)
    for p in range(3):
        for name, right in norms([p], False).items():
            assert right.isfinite().all() and torch.equal(found[name][p], right)


@needs_compiler
@pytest.mark.parametrize("kind", ["gru", "lem"])
def test_second_derivatives_are_those_of_each_member(kind):
    each = [member(seed, kind, {}) for seed in range(2)]

    def curvature(members: Sequence[Member], together: bool) -> Tensor:
        stacked = {n: torch.stack([m.tensors[n] for m in members]).requires_grad_() for n in members[0].tensors}
        x = torch.stack([m.x for m in members])
        history = [tuple(torch.stack([m.history[0][i] for m in members]) for i in range(len(members[0].history[0])))]
        if together:
            y, _ = scan_members([m.cell for m in members], MemberWeights(stacked, True), x, history)
        else:
            w = Weights({n: t[0] for n, t in stacked.items()}, True)
            y, _ = scan(members[0].cell, w, x[0], [tuple(s[0] for s in states) for states in history])
        (slope,) = torch.autograd.grad(y.square().sum(), stacked["weight_hh"], create_graph=True)
        return torch.autograd.grad(slope.square().sum(), stacked["weight_hh"])[0]

    found = curvature(each, True)
    for p, one in enumerate(each):
        torch.testing.assert_close(found[p], curvature([one], False)[0], rtol=1e-4, atol=1e-5)


def test_members_must_be_alike():
    each = [member(0, "vanilla", {}), member(1, "vanilla", {"activation": "relu"})]
    with pytest.raises(ValueError, match="alike but for their numbers"):
        results(each, True)


@needs_compiler
@pytest.mark.parametrize(("kind", "options"), [HOT[0], ("lem", {}), ("gru", {"norm": "layer"}), ("lru", {})], ids=str)
def test_vmap_is_the_same_call(kind, options):
    cell = make_cell(kind, hidden_size=H, **options)
    each = [member(seed, kind, options) for seed in range(3)]
    stacked = {n: torch.stack([m.tensors[n] for m in each]).requires_grad_() for n in each[0].tensors}
    x, history = torch.stack([m.x for m in each]), [tuple(torch.zeros(B, s.shape[-1]) for s in each[0].history[0])]
    if kind != "gru" or options:
        assert compiled.supports(cell, Weights(each[0].tensors, True), each[0].x, history)

    def one(tensors: dict[str, Tensor], x: Tensor) -> tuple[Tensor, ...]:
        y, [ends] = scan(cell, Weights(tensors, True), x, history)
        return y, *ends

    mapped = torch.vmap(one)(stacked, x)
    pairs = torch.vmap(torch.vmap(one), in_dims=(None, 0))(stacked, x.expand(2, *x.shape))
    own = torch.autograd.grad(sum(t.square().sum() for t in mapped), list(stacked.values()))  # type: ignore[arg-type]
    for p, m in enumerate(each):
        alone = {n: t.clone().requires_grad_() for n, t in m.tensors.items()}
        expected = one(alone, m.x.clone())
        for found, nested, right in zip(mapped, pairs, expected, strict=True):
            assert torch.equal(found[p], right) and torch.equal(nested[1, p], right)
        sum(t.square().sum() for t in expected).backward()  # type: ignore[union-attr]
        for g, t in zip(own, alone.values(), strict=True):
            assert t.grad is not None and torch.equal(g[p], t.grad)
