"""The bias of truncated gradients, against gradients that autograd truncates."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.common.errors import UserError
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.base import measure
from rnnlab.probes.tape import trace
from rnnlab.theory import relative_bias_bound, scalar_relative_bias

T = 30


def scalar_gradient(decay: float, window: int) -> float:
    """Gradient of h_T in u, where h_t = λ h_{t-1} + u and the state is cut off `window` steps before the end."""
    u = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    h = torch.zeros((), dtype=torch.float64)
    for t in range(T):
        h = h.detach() if t == T - window else h
        h = decay * h + u
    (gradient,) = torch.autograd.grad(h, u)
    return float(gradient)


@pytest.mark.parametrize("decay", [0.5, 0.99, 1 - 1e-13, 1.0, 1.01, 2.0])
@pytest.mark.parametrize("window", [1, 7, T])
def test_scalar_bias_is_the_share_that_autograd_misses(decay, window):
    missing = 1 - scalar_gradient(decay, window) / scalar_gradient(decay, T)
    assert scalar_relative_bias(decay, window, T) == pytest.approx(missing, abs=1e-12)


def test_scalar_bias_is_the_published_formula_and_does_not_overflow():
    decay, window = 0.9, 5
    formula = (decay**window - decay**T) / (1 - decay**T)
    assert scalar_relative_bias(decay, window, T) == pytest.approx(formula, rel=1e-12)
    assert scalar_relative_bias(2.0, 10, 10_000) == 1.0


@pytest.mark.parametrize(("decay", "window", "field"), [(0.0, 1, "decay"), (0.9, 0, "window"), (0.9, 31, "window")])
def test_impossible_arguments_are_refused(decay, window, field):
    with pytest.raises(UserError, match=field):
        scalar_relative_bias(decay, window, T)


@pytest.mark.parametrize("decay", [0.3, 0.8, 0.95])
def test_the_bound_on_an_endless_scalar_recurrence(decay):
    """There everything is a geometric series: the true bias is λ^K, the bound λ^K / (1 - 2 λ^K)."""
    K = np.arange(1, T + 1)
    kept = (1 - decay**K) / (1 - decay)
    bound = relative_bias_bound(np.arange(T) * math.log10(decay), kept, math.log10(decay))
    enough = 2 * decay**K < 1
    np.testing.assert_allclose(bound[enough], (decay**K / (1 - 2 * decay**K))[enough], rtol=1e-9)
    assert np.isinf(bound[~enough]).all()


def test_norms_that_do_not_decay_leave_no_bound():
    assert np.isinf(relative_bias_bound(np.zeros(5), np.arange(1.0, 6.0), 0.0)).all()


def test_the_bound_covers_the_bias_of_a_recurrent_network():
    """One sequence of T steps, all lags measured, so nothing lies beyond them and the mean is over one example."""
    generator = torch.Generator().manual_seed(0)
    H, I = 8, 2
    W = (0.5 * torch.randn(H, H, generator=generator, dtype=torch.float64) / math.sqrt(H)).requires_grad_()
    U = torch.randn(H, I, generator=generator, dtype=torch.float64).requires_grad_()
    x = torch.randn(T, I, generator=generator, dtype=torch.float64)
    v = torch.randn(H, generator=generator, dtype=torch.float64)

    def states(cut: int) -> list[Tensor]:
        history = [torch.zeros(H, dtype=torch.float64)]
        for t in range(T):
            previous = history[-1].detach() if t == T - cut else history[-1]
            history.append(torch.tanh(W @ previous + U @ x[t]))
        return history

    def weight_gradient(window: int) -> Tensor:
        return torch.cat([g.ravel() for g in torch.autograd.grad(states(window)[-1] @ v, [W, U])])

    history = states(0)
    by_lag = torch.autograd.grad(history[-1] @ v, history[:0:-1])
    norms = np.array([float(g.norm().log10()) for g in by_lag])
    # dz/dθ at fixed previous state stretches by √(‖h‖² + ‖x‖²), and tanh' is at most 1.
    sensitivity = max(math.sqrt(float((h @ h + x_t @ x_t).detach())) for h, x_t in zip(history, x, strict=False))
    full = weight_gradient(T)
    truncated = [weight_gradient(K) for K in range(1, T + 1)]
    bias = np.array([float((g - full).norm() / full.norm()) for g in truncated])
    bound = relative_bias_bound(norms, np.array([float(g.norm()) for g in truncated]), -math.inf, sensitivity)
    assert (bias <= bound + 1e-12).all()
    assert np.isfinite(bound[10:]).all() and bias[0] > 0.1


def test_the_probes_mean_bounds_the_bias_where_few_examples_remember():
    """Of 16 scalar recurrences two keep everything: the mean of logarithms would promise a bias of nearly nothing."""
    net = Recurrent("indrnn", 1, 2, activation="relu", growth=None, bias=False, dtype=torch.float64)
    lengths, K = 40, np.arange(1, 41)
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").copy_(torch.tensor([1.0, 1e-2]))
        net.get_parameter("weight_ih_l0").fill_(1.0)
    keeps = torch.zeros(16, 2, dtype=torch.float64)
    keeps[:2, 0], keeps[2:, 1] = 1.0, 1.0  # what each example reads of the two units
    with trace(net) as tape:
        (net(torch.ones(lengths, 16, 1, dtype=torch.float64))[0][-1] * keeps).sum().backward()
    found = measure(tape.traces, ["lagged"]).squeeze()
    # The gradient in the input weight sums λ^k over the lags that are kept, in the mean over examples.
    kept = (2 * K + 14 * (1 - 0.01**K) / 0.99) / 16
    bias = 1 - kept / kept[-1]
    bound = relative_bias_bound(found["log10_mean_lagged_norm"].values, kept, -math.inf)
    assert (bias <= bound + 1e-12).all() and np.isfinite(bound[30:]).all()
    assert relative_bias_bound(found["log10_lagged_norm"].values, kept, -math.inf)[30] < bias[30] / 1e10
