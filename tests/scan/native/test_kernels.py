"""Total gradients as the compiled scan reports them, at any magnitude."""

import math

import pytest
import torch
from native_calls import run
from torch import Tensor
from totals_of_steps import Log, in_float64, log2_norm, totals_by_autograd

from rnnlab.cells import Cell, Weights, make_cell
from rnnlab.scan.native.build import has_compiler

pytestmark = pytest.mark.skipif(not has_compiler(), reason="needs a C++ compiler")

CELLS = [("vanilla", {}), ("vanilla", {"residual": 0.5}), ("lstm", {}), ("lstm", {"forget_gate": False}), ("gru", {})]


def random_layer(kind: str, inputs: int, hidden: int, dtype: torch.dtype, **options: object) -> tuple[Cell, Weights]:
    cell = make_cell(kind, hidden_size=hidden, **options)
    generator = torch.Generator().manual_seed(3)
    tensors = {
        name: (torch.randn(shape, generator=generator, dtype=torch.float64) / hidden**0.5).to(dtype).requires_grad_()
        for name, shape in cell.parameter_shapes(inputs).items()
    }
    return cell, Weights(tensors, True)


@pytest.mark.parametrize("sizes", [None, [5, 5, 3, 3, 1, 0]])
@pytest.mark.parametrize(("kind", "options"), CELLS)
def test_total_gradients_are_those_of_autograd(kind, options, sizes):
    T, B, I, H = 6, 5, 3, 11
    cell, w = random_layer(kind, I, H, torch.float64, **options)
    w.sizes = sizes
    generator = torch.Generator().manual_seed(0)
    x, dy = (torch.randn(T, B, n, generator=generator).double().requires_grad_() for n in (I, H))
    states, dfinals = (tuple(torch.randn(B, H, generator=generator).double() for _ in cell.states) for _ in range(2))
    log = Log(vectors=True)
    y, finals = run(cell, w, x, states, [log])
    torch.autograd.backward([y, *finals], [dy, *dfinals])
    expected = totals_by_autograd(cell, w, x, states, dy, dfinals)
    active = torch.arange(B) < torch.tensor(sizes or [B] * T).unsqueeze(1)  # (T, B)
    assert set(log.log2) == set(log.total) == set(cell.states)
    for name in cell.states:
        torch.testing.assert_close(log.total[name], expected[name], rtol=1e-10, atol=1e-12)
        assert log.log2[name].dtype == torch.float64
        torch.testing.assert_close(log.log2[name][active], log2_norm(expected[name])[active], rtol=0, atol=1e-10)
        assert log.log2[name][~active].isnan().all()


def test_a_cell_state_counts_the_path_through_the_output_of_its_own_step():
    cell, w = random_layer("lstm", 2, 4, torch.float64)
    log = Log()
    x = torch.randn(1, 1, 2, generator=torch.Generator().manual_seed(0)).double()
    y, (_, c) = run(cell, w, x, (torch.zeros(1, 4).double(),) * 2, [log])
    y.sum().backward()
    tensors = {n: t.detach() for n, t in w.tensors.items()}
    z = x[0] @ tensors["weight_ih"].T + tensors["bias_ih"] + tensors["bias_hh"]
    direct = torch.sigmoid(z[:, 12:]) * (1 - torch.tanh(c.detach()) ** 2)  # dh/dc
    torch.testing.assert_close(log.log2["c"][0], log2_norm(direct), rtol=0, atol=1e-12)


def scaled_rotation(rho: float, hidden: int) -> Tensor:
    """ρ times a random orthogonal matrix."""
    return rho * torch.linalg.qr(torch.randn(hidden, hidden, generator=torch.Generator().manual_seed(1)).double())[0]


def linear_run(rho: float, T: int, dy: Tensor, hidden: int = 20) -> tuple[Log, Tensor, Tensor]:
    """A linear recurrence h_t = ρ Q h_{t-1} + x_t in float32; returns the report, dL/dh_0 and dL/dW."""
    cell = make_cell("vanilla", hidden_size=hidden, activation="identity")
    w_hh = scaled_rotation(rho, hidden).float().requires_grad_()
    w = Weights({"weight_ih": torch.eye(hidden), "weight_hh": w_hh}, True)
    x = torch.randn(T, dy.shape[1], hidden, generator=torch.Generator().manual_seed(2))
    h0 = torch.zeros(dy.shape[1], hidden, requires_grad=True)
    log = Log()
    y, _ = run(cell, w, x, (h0,), [log])
    y.backward(dy)
    assert h0.grad is not None and w_hh.grad is not None
    return log, h0.grad, w_hh.grad


def test_norms_have_no_floor():
    """‖dL/dh_t‖ = ρ^(T-1-t) ‖dL/dh_{T-1}‖ down to 1e-1000; float32 loses some 1e-7 of it a step."""
    T, B, decades = 5000, 3, -0.2
    dy = torch.zeros(T, B, 20)
    dy[-1] = torch.randn(B, 20, generator=torch.Generator().manual_seed(5))
    log, dh0, dw = linear_run(10**decades, T, dy)
    lag = torch.arange(T - 1, -1, -1).double().unsqueeze(1)
    expected = log2_norm(dy[-1].double()) + lag * decades * math.log2(10)
    torch.testing.assert_close(log.log2["h"], expected, rtol=0, atol=2e-3)
    assert log.log2["h"].min() < -3300
    assert dh0.eq(0).all()  # 1e-1000 at its true scale
    # The weights see the last few steps alone, at their true scale: 300 steps are more than float64 can tell.
    w = scaled_rotation(10**decades, 20)
    x = torch.randn(T, B, 20, generator=torch.Generator().manual_seed(2)).double()
    h, states = torch.zeros(B, 20).double(), []
    for x_t in x[-300:]:
        states.append(h)
        h = h @ w.T + x_t
    g, expected_dw = dy[-1].double(), torch.zeros(20, 20).double()
    for h_before in reversed(states):
        expected_dw += g.T @ h_before
        g = g @ w
    torch.testing.assert_close(dw.double(), expected_dw, rtol=1e-4, atol=1e-5)


def test_norms_have_no_ceiling():
    T, decades = 1200, 0.05  # to 1e60, beyond float32
    dy = torch.zeros(T, 2, 20)
    dy[-1] = 1.0
    log, _, _ = linear_run(10**decades, T, dy)
    lag = torch.arange(T - 1, -1, -1).double().unsqueeze(1)
    expected = math.log2(math.sqrt(20)) + lag * decades * math.log2(10)
    torch.testing.assert_close(log.log2["h"], expected.expand(T, 2), rtol=0, atol=1e-3)


@pytest.mark.parametrize("late", [1e-30, 1.0, 1e30])
def test_a_gradient_that_arrives_when_the_old_one_has_vanished_takes_over(late):
    """Example 0 gets one gradient, at the end; example 1 another in the middle; example 2 that one alone."""
    T, middle, decades = 1000, 300, -0.2
    dy = torch.zeros(T, 3, 20)
    dy[-1, :2], dy[middle, 1:] = 1.0, late
    log, _, _ = linear_run(10**decades, T, dy)
    step = torch.arange(T).double()

    def decay(from_step: int, size: float) -> Tensor:
        return math.log2(size * math.sqrt(20)) + (from_step - step) * decades * math.log2(10)

    old, new = decay(T - 1, 1.0), decay(middle, late)
    expected = torch.stack([old, old.where(step > middle, new), new.masked_fill(step > middle, -torch.inf)], 1)
    torch.testing.assert_close(log.log2["h"], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("kind", "options"), [("vanilla", {}), ("lstm", {}), ("gru", {})])
def test_float32_norms_follow_float64_far_below_its_own_smallest_number(kind, options):
    T, B, H = 150, 4, 12
    cell, w = random_layer(kind, 2, H, torch.float32, **options)
    with torch.no_grad():  # forget fast, so that the gradient falls far below 1e-38
        w.weight_hh.mul_(0.1)
        w.bias_hh[H : 2 * H] -= 3.0
    x, dy = torch.randn(T, B, 2, generator=torch.Generator().manual_seed(0)), torch.zeros(T, B, H)
    dy[-1] = 1.0
    log, zeros = Log(), tuple(torch.zeros(B, H) for _ in cell.states)
    run(cell, w, x, zeros, [log])[0].backward(dy)
    wide = tuple(z.double() for z in zeros)
    expected = totals_by_autograd(cell, in_float64(w), x.double(), wide, dy.double(), wide)
    for name in cell.states:
        assert log.log2[name].min() < -400
        torch.testing.assert_close(log.log2[name], log2_norm(expected[name]), rtol=0, atol=1e-3)


def test_a_cell_gradient_far_below_that_of_the_hidden_state_is_not_lost():
    """Closed output gates, o = 1e-24: the squares of dL/dc underflow in float32 while dL/dh is one."""
    cell, w = random_layer("lstm", 2, 12, torch.float32)
    with torch.no_grad():
        w.bias_hh[36:] = math.log(1e-24)
    x, dy = torch.ones(3, 2, 2), torch.ones(3, 2, 12)
    zeros = (torch.zeros(2, 12), torch.zeros(2, 12))
    log = Log()
    run(cell, w, x, zeros, [log])[0].backward(dy)
    wide = tuple(z.double() for z in zeros)
    expected = totals_by_autograd(cell, in_float64(w), x.double(), wide, dy.double(), wide)
    assert log2_norm(expected["c"]).max() < -70
    torch.testing.assert_close(log.log2["c"], log2_norm(expected["c"]), rtol=0, atol=1e-4)


def test_a_gradient_of_zero_has_a_norm_of_zero():
    cell, w = random_layer("gru", 2, 4, torch.float32)
    log = Log()
    y, _ = run(cell, w, torch.ones(6, 2, 2), (torch.zeros(2, 4),), [log])
    y[2, 0].sum().backward()  # nothing after step 2, nothing at all for example 1
    finite = log.log2["h"].isfinite()
    assert finite[:3, 0].all() and finite.sum() == 3
    assert log.log2["h"][~finite].eq(-torch.inf).all()


def test_a_broken_gradient_is_reported_as_it_is():
    cell, w = random_layer("lstm", 2, 4, torch.float32)
    log = Log()
    y, _ = run(cell, w, torch.ones(3, 2, 2), (torch.zeros(2, 4),) * 2, [log])
    dy = torch.zeros(3, 2, 4)
    dy[1, 0, 0] = math.nan
    dy[2, 1] = 1.0
    y.backward(dy)
    assert log.log2["h"][:2, 0].isnan().all()
    assert log.log2["h"][:, 1].isfinite().all()


def test_observing_changes_no_gradient():
    cell, w = random_layer("lstm", 2, 12, torch.float32)
    x = torch.randn(30, 5, 2, generator=torch.Generator().manual_seed(0))

    def gradients(*observers: Log) -> tuple[Tensor, ...]:
        y, _ = run(cell, w, x, (torch.zeros(5, 12),) * 2, observers)
        return torch.autograd.grad(y[-1].sum(), list(w.tensors.values()))

    for observers in ([Log()], [Log(vectors=True)], [Log(), Log(vectors=True)]):
        assert all(torch.equal(a, b) for a, b in zip(gradients(), gradients(*observers), strict=True))
        assert all(set(observer.log2) == {"h", "c"} for observer in observers)
