"""Learnability against a plain loop over examples and lags, and against laws of signal and noise."""

import numpy as np
import pytest
import torch
from jacobians import layer, sequence
from torch import Tensor
from unrolled import unroll

from rnnlab.probes.learnability import SEQUENCES, _projections, _signal_and_noise, learnability, random_directions
from rnnlab.probes.tape import trace
from rnnlab.probes.trace import Trace

T, B = 5, 3


def traced(net, x: Tensor) -> Trace:
    with trace(net) as tape:
        net(x)[0].sin().sum().backward()
    return tape.traces[0]


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "slstm", "lru", "linoss"])
def test_what_an_example_adds_at_a_lag_is_what_each_steps_own_weights_get_of_each_answer(kind):
    net, x = layer(kind), sequence(T, B)
    found = traced(net, x)
    directions = random_directions(found, 2)
    expected = torch.zeros(T, 2, B, dtype=torch.float64)
    for b in range(B):
        run = unroll(net, x[:, b : b + 1])
        for s in range(T):
            for k in range(s + 1):
                own = {n: c for n, c in run.weights[k].items() if c.requires_grad and n in directions}
                loss = run.outputs[s].sin().sum()
                parts = torch.autograd.grad(loss, list(own.values()), retain_graph=True, allow_unused=True)
                for name, part in zip(own, parts, strict=True):
                    if part is not None:
                        expected[s - k, :, b] += torch.einsum("r...,...->r", directions[name], part)
    torch.testing.assert_close(_projections(found, T, 2), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alpha", [2.0, 1.5])
def test_so_many_sequences_bring_the_noise_of_a_mean_down_to_the_signal(alpha):
    """Signals that fall tenfold a lag in noise of one law: N(ℓ) is the signal to the power -α/(α - 1)."""
    random, examples = np.random.default_rng(0), 20_000
    angle, wait = random.uniform(-np.pi / 2, np.pi / 2, (3, 1, examples)), random.exponential(size=(3, 1, examples))
    noise = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)  # Chambers, Mallows and Stuck 1976
    noise *= (np.cos((1 - alpha) * angle) / wait) ** ((1 - alpha) / alpha)
    signal = np.array([3.0, 0.3, 1.0])
    noise -= noise.mean(-1, keepdims=True)
    found_alpha, found_signal, scale = _signal_and_noise(noise + signal[:, None, None])
    assert found_alpha == pytest.approx(alpha, abs=0.05)
    np.testing.assert_allclose(found_signal, signal, rtol=0.05)
    np.testing.assert_allclose(scale, 1.0, rtol=0.05)


def test_few_examples_do_not_make_a_signal_of_noise():
    """The mean of five examples has a variance of 1/5 of its own, which would show as a signal of 0.67 for 0.5."""
    noise = np.random.default_rng(0).normal(size=(1, 20_000, 5))
    _, signal, _ = _signal_and_noise(noise + 0.5)
    assert signal[0] == pytest.approx(0.5, rel=0.02)


def test_the_window_is_the_longest_lag_whose_number_of_sequences_suffices():
    """A loss at the last step, and gradients that fade with the lag against noise that does not."""
    found = learnability(traced(layer("gru"), sequence(30, 40)), max_lag=10)
    needed = found["log10_sequences_needed"]
    for N, reach in zip(SEQUENCES, found["learnable_lag"].values, strict=True):
        enough = needed.lag.values[needed.values <= np.log10(N)]
        assert reach == (enough.max() if len(enough) else pytest.approx(np.nan, nan_ok=True))
    alpha = float(found["noise_tail_index"])
    ratio = found["log10_gradient_noise"] - found["log10_gradient_signal"]
    if alpha > 1:
        np.testing.assert_allclose(needed, ratio * alpha / (alpha - 1))


def test_neither_the_scale_of_the_loss_nor_its_underflow_matters():
    net, x = layer("gru"), sequence(T, 20)
    plain, tiny = (learnability(_scaled(net, x, scale)) for scale in (1.0, 1e-200))
    np.testing.assert_allclose(tiny["log10_sequences_needed"], plain["log10_sequences_needed"], rtol=1e-9)
    np.testing.assert_allclose(tiny["log10_gradient_signal"], plain["log10_gradient_signal"] - 200, rtol=1e-9)


def _scaled(net, x: Tensor, scale: float) -> Trace:
    with trace(net) as tape:
        (scale * net(x)[0].sin().sum()).backward()
    return tape.traces[0]


def test_coupled_examples_have_no_signal_of_their_own():
    assert learnability(traced(layer("vanilla", norm="batch"), sequence())) == {}
