"""Where the kernels cannot read a tensor by its address, or somebody follows the operations, the reference serves."""

import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from native_calls import supports
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import rnnlab
from rnnlab.cells import States, Weights, make_cell
from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent
from rnnlab.scan import reference, scan
from rnnlab.scan.native import pays
from rnnlab.scan.native.build import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")

T, B, I, H = 5, 3, 4, 6


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def twins() -> tuple[nn.LSTM, nn.Module]:
    """A layer of torch.nn and ours with the same weights."""
    torch.manual_seed(0)
    theirs = nn.LSTM(I, H)
    return theirs, rnnlab.convert(copy.deepcopy(theirs))


def asked(**options: object) -> tuple[Callable[..., bool], Weights, Tensor, States]:
    cell = make_cell("lstm", hidden_size=H, **options)
    w = Weights({name: draw(*shape) for name, shape in cell.parameter_shapes(I).items()}, True)
    return lambda *rest: supports(cell, *rest), w, draw(T, B, I), (draw(B, H), draw(B, H))


def test_cells_it_does_not_know():
    _, w, x, states = asked()
    assert supports(make_cell("lstm", hidden_size=H), w, x, states)
    assert not supports(make_cell("lstm", hidden_size=H, norm="batch"), w, x, states)
    assert not supports(make_cell("lstm", hidden_size=H, zoneout=0.1), w, x, states)
    assert not supports(make_cell("vanilla", hidden_size=H, activation="modrelu"), w, x, states)


class Sub(Tensor):
    """Sees every operation, as any subclass does."""


ODD: dict[str, Callable[[Tensor], Tensor]] = {
    "half": Tensor.bfloat16,
    "wide": Tensor.double,
    "meta": lambda t: t.to("meta"),
    "sparse": lambda t: t.to_sparse(),
    "negated": torch._neg_view,  # type: ignore[attr-defined]
    "zero": lambda t: torch._efficientzerotensor(t.shape),  # type: ignore[attr-defined]
    "subclass": lambda t: t.as_subclass(Sub),
    "fake": lambda t: FakeTensorMode().from_tensor(t),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize("where", ["x", "weight", "state"])
def test_tensors_it_cannot_read(kind, where):
    serves, w, x, (h, c) = asked()
    assert serves(w, x, (h, c))
    odd = ODD[kind]
    if where == "weight":
        w.tensors["weight_hh"] = odd(w.weight_hh)
    assert not serves(w, odd(x) if where == "x" else x, (h, odd(c) if where == "state" else c))


@pytest.mark.filterwarnings("ignore")  # torch.jit.trace is out of date, and says what it takes for constant
def test_circumstances_it_cannot_work_in():
    serves, w, x, states = asked()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not serves(w, x, states)
    with torch.autograd.forward_ad.dual_level():
        assert not serves(w, x, states)
    with FlopCounterMode(display=False):
        assert not serves(w, x, states)
    found = []
    torch.func.grad(lambda v: found.append(serves(w, v, states)) or v.sum())(x)
    torch.jit.trace(lambda v: found.append(serves(w, v, states)) or v.sum(), x, check_trace=False)
    make_fx(lambda v: found.append(serves(w, v, states)) or v.sum())(x)
    torch.vmap(lambda v: found.append(serves(w, v, states)) or v.sum())(ODD["negated"](x.expand(2, T, B, I)))
    assert found == [False] * 4
    torch.vmap(lambda v: found.append(serves(w, v, states)) or v.sum())(x.expand(2, T, B, I))
    assert found.pop()
    w.gates = {}
    assert not serves(w, x, states)


@pytest.mark.filterwarnings("ignore")  # torch.jit.trace is out of date, and says what it takes for constant
def test_what_is_traced_computes_the_same_on_other_inputs(twins):
    theirs, ours = twins
    x, other = draw(T, B, I), draw(T, B, I, seed=1)
    expected = theirs(other)[0]
    with torch.no_grad():
        torch.testing.assert_close(make_fx(lambda v: ours(v)[0])(x)(other), expected)
    torch.testing.assert_close(torch.export.export(ours, (x,), strict=False).module()(other)[0], expected)
    traced: Any = torch.jit.trace(ours, (x,), check_trace=False)
    torch.testing.assert_close(traced(other)[0], expected)


def test_fake_tensors_go_forward_and_back(twins):
    with FakeTensorMode():
        layer = rnnlab.LSTM(I, H)
        layer(torch.randn(T, B, I))[0].sum().backward()
        assert layer.weight_hh_l0.grad is not None and layer.weight_hh_l0.grad.shape == (4 * H, H)


def test_operations_are_counted_on_the_way_back_alone_too(twins):
    _, ours = twins
    y = ours(draw(T, B, I))[0]
    with FlopCounterMode(display=False) as counter:
        y.sum().backward()
    assert counter.get_total_flops() > 0


def test_a_device_that_new_tensors_go_to_is_not_that_of_the_layer(twins):
    theirs, ours = twins
    x = draw(T, 300 * B, I)  # large enough for the pool as well
    for rows in (1, 300 * B):
        with torch.device("meta"):
            y = ours(x[:, :rows])[0]
            y.sum().backward()
        torch.testing.assert_close(y, theirs(x[:, :rows])[0])


@pytest.mark.parametrize("kind", ["negated", "zero", "subclass"])
def test_gradients_that_arrive_may_be_odd(twins, kind):
    x, g = draw(T, B, I).requires_grad_(), draw(T, B, H, seed=2)
    found, expected = (torch.autograd.grad(layer(x)[0], x, ODD[kind](g))[0] for layer in reversed(twins))
    torch.testing.assert_close(found, expected, check_dtype=False)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
def test_many_gradients_may_arrive_at_once(kind):
    torch.manual_seed(0)
    layer = getattr(rnnlab, kind)(I, H).double()
    x, g = draw(T, B, I).double().requires_grad_(), draw(7, T, B, H, seed=2).double()
    y = layer(x)[0]
    sources = [x, *layer.parameters()]
    apart = [torch.autograd.grad(y, sources, each, retain_graph=True) for each in g]
    expected = [torch.stack(each) for each in zip(*apart, strict=True)]
    together = torch.autograd.grad(y, sources, g, is_grads_batched=True, retain_graph=True)
    torch.testing.assert_close(list(together), expected, rtol=1e-10, atol=1e-10)
    mapped = torch.vmap(lambda v: torch.autograd.grad(y, sources, v, retain_graph=True))(g)
    torch.testing.assert_close(list(mapped), expected, rtol=1e-10, atol=1e-10)


def test_a_jacobian_may_be_vectorised(twins):
    _, ours = twins
    x, jacobian = draw(2, 1, I), torch.autograd.functional.jacobian
    torch.testing.assert_close(*(jacobian(lambda v: ours(v)[0], x, vectorize=v) for v in (True, False)))


def test_many_gradients_at_once_make_no_profile(twins):
    _, ours = twins
    with rnnlab.record(ours):
        y = ours(draw(T, B, I))[0]
        with pytest.raises(UserError, match="one at a time"):
            torch.autograd.grad(y, ours.weight_hh_l0, draw(2, T, B, H), is_grads_batched=True)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
@pytest.mark.parametrize("back", [True, False])
def test_too_few_steps_are_taken_by_the_reference(kind, back):
    for inputs, hidden, rows in [(1, 1, 1), (64, 256, 1), (64, 256, 32), (300, 300, 1)]:
        layer = Recurrent(kind, inputs, hidden)
        with torch.set_grad_enabled(back):
            served = [pays(layer.weights(), torch.empty(steps, rows, inputs)) for steps in range(1, 101)]
        assert not served[0] and served[-1] and served == sorted(served), "from some number of steps on"


def test_a_large_layer_takes_a_single_step_as_fast_as_the_reference():
    layer, x = Recurrent("lstm", 64, 1024), draw(1, 1, 64)
    states = layer.cell.initial_states(1, x)
    runs = {way: partial(way, layer.cell, layer.weights(), x, [states]) for way in (scan, reference.scan)}
    seconds: dict[Callable[..., object], float] = dict.fromkeys(runs, float("inf"))
    with torch.no_grad():
        for way in [*runs] * 10:
            began = time.process_time()
            runs[way]()
            seconds[way] = min(seconds[way], time.process_time() - began)
    assert seconds[scan] < 2 * seconds[reference.scan]  # the kernel takes five times as long
