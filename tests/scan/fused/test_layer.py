"""The scan by torch's fused layers computes and measures what the reference scan does, here on the CPU."""

import copy
import gc
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from totals_of_steps import Log, in_float64, log2_norm, totals_by_autograd

import rnnlab
from rnnlab import scan as scans
from rnnlab.cells import Cell, States, Weights, make_cell
from rnnlab.scan import fused, native, reference
from rnnlab.scan.fused.totals import accumulate
from rnnlab.scan.native.build import has_compiler

CELLS = [("vanilla", {}), ("vanilla", {"activation": "relu"}), ("lstm", {}), ("lstm", {"proj_size": 2}), ("gru", {})]
assert_same = partial(torch.testing.assert_close, equal_nan=True, rtol=1e-10, atol=1e-10)


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def layer(
    kind: str, inputs: int, hidden: int, bias: bool = True, dtype: torch.dtype = torch.float64, **options: object
) -> tuple[Cell, Weights]:
    """A cell and random weights."""
    cell = make_cell(kind, hidden_size=hidden, **options)
    shapes = cell.parameter_shapes(inputs, bias)
    drawn = {name: draw(*shape, seed=i).detach() / hidden**0.5 for i, (name, shape) in enumerate(shapes.items())}
    return cell, Weights({name: w.to(dtype).requires_grad_() for name, w in drawn.items()}, True)


def starts(cell: Cell, rows: int, dtype: torch.dtype = torch.float64) -> States:
    return tuple(draw(rows, size, seed=50 + i, dtype=dtype) for i, size in enumerate(cell.state_sizes))


def upstream(outputs: list[Tensor]) -> list[Tensor]:
    return [draw(*t.shape, seed=90 + i).detach().to(t.dtype) for i, t in enumerate(outputs)]


@pytest.fixture
def on_the_cpu(monkeypatch):
    """Layers run by torch's fused ones, which are the fastest way on a GPU alone."""
    monkeypatch.setattr(fused, "pays", lambda w, x: True)
    monkeypatch.setattr(scans, "ENGINES", (fused,))


@pytest.mark.parametrize("sizes", [None, "mixed", "ended"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kind", "options"), CELLS)
@pytest.mark.parametrize(("T", "B", "I", "H"), [(1, 1, 1, 3), (6, 5, 3, 7), (17, 2, 4, 16)])
def test_it_agrees_with_the_reference(kind, options, bias, sizes, T, B, I, H):
    """Outputs, final states, every gradient; observed, all total gradients too, and the gradients stay the same."""
    cell, w = layer(kind, I, H, bias, **options)
    x, states = draw(T, B, I, seed=30), starts(cell, B)
    if sizes is not None:
        ends = [T, *torch.randint(1, T + 1, (B - 1,), generator=torch.Generator().manual_seed(T)).tolist()]
        w.sizes = [sum(end > k for end in ends) for k in range(T)] + [0, 0] * (sizes == "ended")
        x = draw(len(w.sizes), B, I, seed=30)
    assert fused.supports(cell, w, x, [states])
    expected_y, [expected_finals] = reference.scan(cell, w, x, [states])
    sources = [x, *w.tensors.values(), *states]
    given = upstream([expected_y, *expected_finals])
    expected = torch.autograd.grad([expected_y, *expected_finals], sources, given)
    log = Log(vectors=True)
    for observers in ([], [log]):
        y, [finals] = fused.run(cell, w, x, [states], 0, observers)
        assert_same([y, *finals], [expected_y, *expected_finals])
        assert_same(torch.autograd.grad([y, *finals], sources, given), expected)
    oracle = totals_by_autograd(cell, w, x, states, given[0], tuple(given[1:]))
    active = torch.arange(B) < torch.tensor(w.sizes or [B] * T).unsqueeze(1)
    for name in cell.states:
        assert_same(log.total[name], oracle[name])
        assert_same(log.log2[name][active], log2_norm(oracle[name])[active])
        assert log.log2[name][~active].isnan().all()


@pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_it_measures_what_the_kernels_measure(kind, dtype):
    for seed in range(5):
        generator = np.random.default_rng(seed)
        T, B, I, H = (int(n) for n in generator.integers(1, 24, 4))
        cell, w = layer(kind, I, H, dtype=dtype)
        x, states, logs = draw(T, B, I, seed=seed, dtype=dtype), starts(cell, B, dtype), (Log(), Log())
        for engine, log in zip((native, fused), logs, strict=True):
            y, [finals] = engine.run(cell, w, x, [states], 0, [log])
            torch.autograd.backward([y, *finals], upstream([y, *finals]))
        tight = 1e-9 if dtype == torch.float64 else 1e-3
        for name in cell.states:
            torch.testing.assert_close(logs[0].log2[name], logs[1].log2[name], rtol=0, atol=tight)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_saturated_gates_cost_no_digits_in_float32(kind):
    """Pre-activations of size 30: a slope of a gate is then 1e-13, or nothing at all."""
    cell, w = layer(kind, 3, 9, dtype=torch.float32)
    x, states = 30 * draw(12, 4, 3, dtype=torch.float32).detach(), starts(cell, 4, torch.float32)
    log = Log()
    y, [finals] = fused.run(cell, w, x, [states], 0, [log])
    given = upstream([y, *finals])
    torch.autograd.backward([y, *finals], given)
    wide, states = [g.double() for g in given], tuple(s.detach().double().requires_grad_() for s in states)
    exact = totals_by_autograd(cell, in_float64(w), x.double(), states, wide[0], tuple(wide[1:]))
    for name in cell.states:
        torch.testing.assert_close(log.log2[name], log2_norm(exact[name]), rtol=0, atol=2e-3)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_steps_that_no_loss_reaches_have_a_norm_of_zero(kind):
    cell, w = layer(kind, 2, 4, dtype=torch.float32)
    log, lost = Log(), []
    log.underflowed = lambda state, where, first=0: lost.append(where)  # type: ignore[method-assign]
    y, _ = fused.run(cell, w, torch.ones(6, 2, 2), [starts(cell, 2, torch.float32)], 0, [log])
    y[2, 0].sum().backward()  # nothing after step 2, nothing at all for example 1
    for log2 in log.log2.values():
        assert log2[:3, 0].isfinite().all() and log2[3:, 0].eq(-torch.inf).all() and log2[:, 1].eq(-torch.inf).all()
    assert not lost


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_what_falls_below_the_smallest_number_is_told(kind):
    cell, w = layer(kind, 2, 4, dtype=torch.float32)
    with torch.no_grad():  # forget fast
        w.weight_hh.mul_(0.1)
        w.bias_hh[4:8] -= 3.0
    log, lost = Log(), {}
    log.underflowed = lambda state, where, first=0: lost.update({state: where})  # type: ignore[method-assign]
    y, _ = fused.run(cell, w, torch.ones(200, 2, 2), [starts(cell, 2, torch.float32)], 0, [log])
    y[-1].sum().backward()
    for name, log2 in log.log2.items():
        assert (log2 > -126)[lost[name].logical_not()].all() and lost[name][0].all() and not lost[name][-1].any()


class Often(Log):
    """Is told of many passes."""

    def norms(self, state: str, log2: Tensor, first: int = 0) -> None: ...


@pytest.mark.parametrize("observers", [[], [Often()]])
@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_gradcheck(kind, options, observers):
    cell, w = layer(kind, 2, 3, **options)
    names, shapes = list(w.tensors), len(w.tensors) + 1

    def outputs(*each: Tensor) -> tuple[Tensor, ...]:
        own = Weights(dict(zip(names, each[1:shapes], strict=True)), True, [2, 2, 1, 1])
        y, [finals] = fused.run(cell, own, each[0], [each[shapes:]], 0, observers)
        return y, *finals

    given = (draw(4, 2, 2), *w.tensors.values(), *starts(cell, 2))
    assert torch.autograd.gradcheck(outputs, given, fast_mode=True)


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_second_derivatives_are_those_of_the_reference(kind, options):
    cell, w = layer(kind, 2, 3, **options)
    x, states = draw(4, 2, 2), starts(cell, 2)
    found = []
    for way in (fused.run, reference.scan):
        y, [finals] = way(cell, w, x, [states])
        (g,) = torch.autograd.grad(y.square().sum() + finals[-1].sum(), x, create_graph=True)
        found.append(torch.autograd.grad(g.square().sum(), [x, *w.tensors.values()], allow_unused=True))
    assert_same(*found)


def test_a_graph_is_let_go_of_by_the_last_pass_alone():
    cell, w = layer("gru", 3, 6)
    y, _ = fused.run(cell, w, draw(5, 4, 3), [starts(cell, 4)])
    node = y.grad_fn
    first = torch.autograd.grad(y.square().sum(), w.weight_hh, retain_graph=True)
    inner = weakref.ref(node.layer.outputs[0])  # type: ignore[union-attr]
    second = torch.autograd.grad(y.square().sum(), w.weight_hh)
    assert torch.equal(first[0], second[0])
    gc.collect()
    assert inner() is None
    with pytest.raises(RuntimeError, match="second time"):
        torch.autograd.grad(y.square().sum(), w.weight_hh)


def test_a_recurrence_is_that_of_a_loop():
    decay, entering = draw(13, 3).detach(), draw(13, 3, seed=1).detach()
    s, expected = torch.zeros(3).double(), []
    for d, e in zip(decay, entering, strict=True):
        s = d * s + e
        expected.append(s)
    assert_same(accumulate(decay, entering), torch.stack(expected))


@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "bidirectional": True}, {"proj_size": 3}])
@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
def test_a_whole_layer_is_recorded_as_by_the_kernels(kind, options, on_the_cpu, monkeypatch):
    if "proj_size" in options and kind != "LSTM":
        pytest.skip("torch projects in the LSTM alone")
    torch.manual_seed(0)
    net = getattr(rnnlab, kind)(3, 5, **options).double()
    x, lengths = torch.randn(9, 4, 3).double(), torch.tensor([3, 9, 1, 5])
    found = []
    for engines in ((fused,), ()):
        monkeypatch.setattr(scans, "ENGINES", engines)
        net.zero_grad()
        with rnnlab.record(net) as log:
            y, _ = net(x, lengths=lengths)
            y.square().sum().backward()
        gradients = [p.grad.clone() for p in net.parameters() if p.grad is not None]
        found.append((y.detach(), gradients, log.dataset()["log10_grad_norm"].values))
    (y, gradients, norms), (again, same, also) = found
    assert_same(again, y)
    assert_same(same, gradients)
    np.testing.assert_allclose(also, norms, atol=1e-9)


def test_what_vanishes_in_one_layer_is_followed_into_the_next(on_the_cpu):
    """Gradients of 1e-60 leave the upper layer: float32 has no such number, its shadow has."""
    torch.manual_seed(0)
    net = rnnlab.RNN(2, 6, num_layers=2)
    with torch.no_grad():
        net.get_parameter("weight_ih_l1").mul_(1e-30)
    exact = copy.deepcopy(net).double()
    found = []
    for own, x in ((net, torch.ones(5, 3, 2)), (exact, torch.ones(5, 3, 2).double())):
        with rnnlab.record(own) as log:
            (own(x)[0].sum() * 1e-30).backward()
        found.append(log.dataset()["log10_grad_norm"].sel(layer=0).values)
    assert found[1].max() < -50
    np.testing.assert_allclose(found[0], found[1], atol=1e-3)


def test_what_it_does_not_take():
    cell, w = layer("lstm", 2, 3)
    x, states = draw(4, 2, 2), starts(cell, 2)
    assert fused.supports(cell, w, x, [states]) and not fused.pays(w, x)
    for other in ({"zoneout": 0.1}, {"peepholes": True}, {"norm": "layer"}, {"forget_gate": False}):
        assert not fused.supports(make_cell("lstm", hidden_size=3, **other), w, x, [states])
    for options in ({"activation": "elu"}, {"residual": 0.5}):
        assert not fused.supports(*layer("vanilla", 2, 3, **options), x, [states[:1]])  # type: ignore[arg-type]
    assert not fused.supports(cell, w, x, [states, states])
    assert not fused.supports(cell, w, x, [states], [cell, cell])
    assert not fused.supports(cell, Weights(w.tensors, True, [1, 1, 1, 1]), x, [states])
    assert not fused.supports(cell, w, x.to("meta"), [states])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not fused.supports(cell, w, x, [states])
