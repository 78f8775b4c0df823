"""Stacked members, run at once, each give to the bit what they give alone and in any other company."""

from collections.abc import Sequence

import pytest
import torch
from compiled_calls import CELLS, draw
from member_calls import HOT, SLOW, B, H, I, Member, Norms, T, member, results, same
from torch import Tensor

from rnnlab.cells import MemberWeights, States, Weights, make_cell
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import compiled, native, scan, scan_members
from rnnlab.scan.native.build import has_compiler
from rnnlab.scan.observer import ScanObserver
from rnnlab.scan.shadow import Shadows

needs_compiler = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")


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
