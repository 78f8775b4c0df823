"""The compiled scan computes what the reference scan computes."""

from functools import partial

import pytest
import torch
from native_calls import run, supports
from torch import Tensor

from rnnlab.cells import Cell, Weights, make_cell
from rnnlab.scan.native.build import has_compiler
from rnnlab.scan.native.kernels import ACTIVATIONS
from rnnlab.scan.reference import scan

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")

CELLS = [("vanilla", {}), ("lstm", {}), ("lstm", {"forget_gate": False}), ("gru", {})]
assert_same = partial(torch.testing.assert_close, equal_nan=True, rtol=1e-10, atol=1e-10)
"""In float64 the two differ by the order of sums and the last bits of exp: some 1e-14 at these sizes."""


def layer(
    kind: str, inputs: int, hidden: int, bias: bool = True, dtype: torch.dtype = torch.float64, **options: object
) -> tuple[Cell, dict[str, Tensor]]:
    """A cell and random weights."""
    cell = make_cell(kind, hidden_size=hidden, **options)
    generator = torch.Generator().manual_seed(7)
    shapes = cell.parameter_shapes(inputs, bias)
    weights = {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}
    return cell, {name: (w / hidden**0.5).requires_grad_() for name, w in weights.items()}


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Random values that require a gradient."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype).requires_grad_()


def check_against_reference(cell: Cell, weights: dict[str, Tensor], x: Tensor, sizes: list[int] | None = None) -> None:
    """Outputs, final states and every gradient, with gradients arriving at all of them."""
    B, H, dtype = x.shape[1], cell.hidden_size, x.dtype
    states = tuple(draw(B, H, seed=i + 1, dtype=dtype) for i in range(len(cell.states)))
    w = Weights(weights, True, sizes)
    assert supports(cell, w, x, states)
    y, finals = run(cell, w, x, states)
    expected_y, [expected_finals] = scan(cell, w, x, [states])
    assert_same([y, *finals], [expected_y, *expected_finals])
    sources = [x, *weights.values(), *states]
    upstream = [draw(*t.shape, seed=9 + i).detach() for i, t in enumerate([y, *finals])]
    found = torch.autograd.grad([y, *finals], sources, upstream)
    expected = torch.autograd.grad([expected_y, *expected_finals], sources, upstream)
    assert_same(found, expected)


@pytest.mark.parametrize(("kind", "options"), CELLS)
@pytest.mark.parametrize(
    ("T", "B", "I", "H"), [(1, 1, 1, 1), (6, 9, 3, 5), (5, 1, 2, 16), (4, 13, 20, 33), (90, 2, 1, 7), (3, 70, 2, 70)]
)
def test_it_agrees_with_the_reference_at_any_size(kind, options, T, B, I, H):
    cell, weights = layer(kind, I, H, **options)
    check_against_reference(cell, weights, draw(T, B, I))


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_it_agrees_without_biases(kind, options):
    cell, weights = layer(kind, 3, 6, bias=False, **options)
    check_against_reference(cell, weights, draw(5, 4, 3))


@pytest.mark.parametrize("residual", [None, 0.3])
@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
def test_it_agrees_for_every_activation(activation, residual):
    cell, weights = layer("vanilla", 3, 6, activation=activation, residual=residual)
    x = 12 * draw(6, 5, 3).detach()  # far into every activation's tails
    check_against_reference(cell, weights, x.requires_grad_())


@pytest.mark.parametrize("activation", sorted(set(ACTIVATIONS) - {"elu", "hard_tanh"}))  # there torch's slope depends
def test_a_state_that_is_not_a_number_has_torchs_slope(activation):  # on how many numbers stand side by side
    cell, weights = layer("vanilla", 3, 6, activation=activation)
    x = draw(6, 5, 3).detach()
    x[2, 0, 1] = torch.nan
    check_against_reference(cell, weights, x.requires_grad_())


@pytest.mark.parametrize("sizes", [[6, 4, 4, 1, 1], [6, 6, 3, 0, 0], [6, 6, 6, 6, 6]])
@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_sequences_of_different_length_agree(kind, options, sizes):
    cell, weights = layer(kind, 3, 10, **options)
    check_against_reference(cell, weights, draw(5, 6, 3), sizes)


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_inputs_may_lie_in_memory_as_they_like(kind, options):
    cell, weights = layer(kind, 3, 6, **options)
    check_against_reference(cell, weights, draw(4, 5, 3).detach().transpose(0, 1).requires_grad_())
    check_against_reference(cell, weights, draw(3, 5, 4).detach().permute(1, 2, 0).requires_grad_())
    check_against_reference(cell, weights, draw(1, 4, 3).detach().expand(5, 4, 3).requires_grad_())


def test_gradients_of_outputs_may_be_expanded_or_absent():
    cell, weights = layer("lstm", 3, 6)
    x, states = draw(5, 4, 3), (torch.zeros(4, 6).double(), torch.zeros(4, 6).double())
    y, finals = run(cell, Weights(weights, True), x, states)
    torch.testing.assert_close(  # a scalar expanded to all outputs, against a tensor of ones
        torch.autograd.grad(y.sum(), x, retain_graph=True),
        torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True),
    )
    expected_y, _ = scan(cell, Weights(weights, True), x, [states])
    assert_same(  # y takes no part in the loss
        torch.autograd.grad(finals[0].sum(), x), torch.autograd.grad(expected_y[-1].sum(), x)
    )


def test_an_empty_batch_gives_zero_gradients():
    cell, weights = layer("gru", 3, 6)
    y, (h,) = run(cell, Weights(weights, True), torch.zeros(5, 0, 3).double(), (torch.zeros(0, 6).double(),))
    assert y.shape == (5, 0, 6) and h.shape == (0, 6)
    grads = torch.autograd.grad(y.sum() + h.sum(), list(weights.values()))
    assert all(g.eq(0).all() for g in grads)


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_gradcheck(kind, options):
    cell, weights = layer(kind, 2, 3, **options)
    names = list(weights)

    def outputs(x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        w = Weights(dict(zip(names, rest, strict=False)), True)
        y, finals = run(cell, w, x, rest[len(names) :])
        return y, *finals

    states = [draw(2, 3, seed=i) for i in range(len(cell.states))]
    assert torch.autograd.gradcheck(outputs, (draw(4, 2, 2), *weights.values(), *states))


@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_float32_agrees_to_a_few_last_bits(kind, options):
    cell, weights = layer(kind, 3, 100, dtype=torch.float32, **options)
    x = draw(20, 7, 3, dtype=torch.float32)
    states = tuple(torch.zeros(7, 100) for _ in cell.states)
    y, _ = run(cell, Weights(weights, True), x, states)
    exact, _ = scan(
        cell,
        Weights({n: w.double() for n, w in weights.items()}, True),
        x.double(),
        [tuple(s.double() for s in states)],
    )
    torch.testing.assert_close(y.double(), exact, rtol=0, atol=1e-6)
    found = torch.autograd.grad(y.square().sum(), list(weights.values()))
    expected = torch.autograd.grad(exact.square().sum(), list(weights.values()))
    for f, e in zip(found, expected, strict=True):  # sums of 140 products of size one
        assert (f - e).abs().max() <= 1e-5 * e.abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_tanh_and_sigmoid_are_right_to_the_last_bits_everywhere(dtype):
    H = 1000
    z = torch.cat([torch.logspace(-9, 1.6, H // 2), -torch.logspace(-9, 1.6, H // 2)]).to(dtype)
    for name, function in (("tanh", torch.tanh), ("sigmoid", torch.sigmoid)):
        cell = make_cell("vanilla", hidden_size=H, activation=name)
        weights = {"weight_ih": z.unsqueeze(1), "weight_hh": torch.zeros(H, H, dtype=dtype)}
        y, _ = run(cell, Weights(weights, False), torch.ones(1, 1, 1, dtype=dtype), (torch.zeros(1, H, dtype=dtype),))
        exact = function(z.double())
        ulps = ((y[0, 0].double() - exact) / exact).abs().max() / torch.finfo(dtype).eps
        assert ulps < 3


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_fixed_number_of_threads_gives_the_same_bits_every_time(threads):
    cell, weights = layer("lstm", 3, 32, dtype=torch.float32)
    x, before = draw(40, 11, 3, dtype=torch.float32), torch.get_num_threads()

    def gradients() -> list[Tensor]:
        y, finals = run(cell, Weights(weights, True), x, (torch.zeros(11, 32), torch.zeros(11, 32)))
        return [y, *torch.autograd.grad(y.square().sum() + finals[1].sum(), [x, *weights.values()])]

    try:
        torch.set_num_threads(threads)
        first, second = gradients(), gradients()
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    torch.testing.assert_close(first, gradients(), rtol=1e-4, atol=1e-4)


def test_a_graph_can_be_walked_twice():
    cell, weights = layer("gru", 3, 6)
    x = draw(5, 4, 3)
    y, _ = run(cell, Weights(weights, True), x, (torch.zeros(4, 6).double(),))
    (first,) = torch.autograd.grad(y.square().sum(), x, retain_graph=True)
    (second,) = torch.autograd.grad(y.square().sum(), x)
    assert torch.equal(first, second)


def test_only_what_requires_a_gradient_gets_one():
    cell, weights = layer("lstm", 3, 6)
    states = (torch.zeros(4, 6).double(), torch.zeros(4, 6).double())
    frozen = {name: w.detach() for name, w in weights.items()}
    x = draw(5, 4, 3)
    y, _ = run(cell, Weights(frozen, True), x, states)
    expected, _ = scan(cell, Weights(frozen, True), x, [states])
    assert_same(torch.autograd.grad(y.sum(), x), torch.autograd.grad(expected.sum(), x))
    still, _ = run(cell, Weights(frozen, True), x.detach(), states)
    assert not still.requires_grad and torch.equal(still, y)
    with torch.no_grad():
        assert torch.equal(run(cell, Weights(weights, True), x, states)[0], y)


def test_outputs_may_be_changed_in_place():
    cell, weights = layer("vanilla", 3, 6)
    x = draw(5, 4, 3)
    y, _ = run(cell, Weights(weights, True), x.detach(), (torch.zeros(4, 6).double(),))
    y += 1  # what a user may do to the outputs of torch's layers too, where backward does not need them
    y, _ = run(
        cell, Weights({n: w.detach() for n, w in weights.items()}, True), x.detach(), (torch.zeros(4, 6).double(),)
    )
    y[0] = 0
    assert y[0].eq(0).all()


def test_the_threads_of_the_process_keep_their_subnormal_numbers():
    cell, weights = layer("lstm", 3, 32, dtype=torch.float32)
    y, _ = run(cell, Weights(weights, True), draw(40, 11, 3, dtype=torch.float32), (torch.zeros(11, 32),) * 2)
    y.sum().backward()
    tiny = torch.full((1_000_000,), 1e-40)  # enough of them to be spread over all threads
    assert (tiny * 1.0).gt(0).all()
