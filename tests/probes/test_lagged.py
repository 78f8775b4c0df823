"""The lagged gradient is many backward passes, one for the loss of each step, in one."""

from typing import Any, cast

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from unrolled import last_step, unroll

from rnnlab.cells import CELLS
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.lagged import lagged
from rnnlab.probes.tape import trace
from rnnlab.probes.total_gradient import total_gradient

T, B, I, H = 7, 4, 3, 5


def layer(kind: str, **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(kind, I, H, dtype=torch.float64, **options)


def separate_passes(net: Recurrent, x: torch.Tensor) -> dict[int, list[float]]:
    """log10 norms of dL_s/dh_{s-k} by lag k, from one backward pass for each s."""
    loop = unroll(net, x)
    logs: dict[int, list[float]] = {}
    for s in range(len(x)):
        for t, gradient in enumerate(loop.gradients(loop.outputs[s].sin().sum())[: s + 1]):
            logs.setdefault(s - t, []).extend(gradient.norm(dim=-1).log10().tolist())
    return logs


def check(found: dict, logs: dict[int, list[float]]) -> None:
    for lag in found["log10_lagged_norm"].lag.values:
        # All float64: a chain of seven replayed steps differs by a few ulp.
        assert float(found["log10_lagged_norm"].sel(lag=lag)) == pytest.approx(np.mean(logs[lag]), abs=1e-10)
        for q in (25, 50, 75):
            expected = np.percentile(logs[lag], q)
            assert float(found[f"log10_lagged_norm_q{q}"].sel(lag=lag)) == pytest.approx(expected, abs=1e-10)
        mean = np.log10(np.mean(np.power(10, logs[lag])))
        assert float(found["log10_mean_lagged_norm"].sel(lag=lag)) == pytest.approx(mean, abs=1e-10)
        assert float(found["lagged_zero_fraction"].sel(lag=lag)) == 0


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_it_equals_separate_backward_passes(kind):
    net, x = layer(kind), torch.randn(T, B, I, dtype=torch.float64)
    with trace(net) as tape:
        net(x)[0].sin().sum().backward()
    check(lagged(tape.traces[0]), separate_passes(net, x))


@pytest.mark.parametrize("options", [{"norm": "batch"}, {"dilation": 3}], ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "gru", "lstm"])
def test_batch_norm_and_dilation(kind, options):
    net, x = layer(kind, **options), torch.randn(T, B, I, dtype=torch.float64)
    with trace(net) as tape:
        net(x)[0].sin().sum().backward()
    found = lagged(tape.traces[0])
    assert found["log10_lagged_norm"].lag.values.tolist() == list(range(0, T, options.get("dilation", 1)))
    check(found, separate_passes(net, x))


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_padded_sequences_count_as_far_as_they_go(direction):
    net = layer("gru", bidirectional=True)
    sequences = [torch.randn(n, I, dtype=torch.float64) for n in (3, T, 1, 5)]
    with trace(net) as tape:
        net(pack_sequence(sequences, enforce_sorted=False))[0].data.sin().sum().backward()
    found = next(t for t in tape.traces if t.direction == direction)
    alone = layer("gru")
    with torch.no_grad():
        for name in found.weights:
            alone.get_parameter(f"{name}_l0").copy_(found.weights[name])
    logs: dict[int, list[float]] = {}
    for x in sequences:
        one = separate_passes(alone, (x if direction == "forward" else x.flip(0)).unsqueeze(1))
        for lag, values in one.items():
            logs.setdefault(lag, []).extend(values)
    check(lagged(found), logs)


def test_a_single_answer_leaves_the_profile_of_the_total_gradient():
    net = layer("lstm")
    with trace(net) as tape:
        last_step(net(torch.randn(T, B, I, dtype=torch.float64))[0], ()).backward()
    total = total_gradient(tape.traces[0])["log10_grad_norm"].sel(state="h").values
    np.testing.assert_allclose(lagged(tape.traces[0])["log10_lagged_norm"], total[::-1], rtol=1e-10)


def test_an_orthogonal_linear_recurrence_forgets_nothing_at_any_lag():
    """The total gradient of a loss at every step grows with the number of later answers; lag by lag it is flat."""
    net = layer("vanilla", activation="identity")
    rho = 0.7
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").copy_(rho * torch.linalg.qr(torch.randn(H, H, dtype=torch.float64))[0])
    with trace(net) as tape:
        net(torch.randn(T, B, I, dtype=torch.float64))[0].sum().backward()
    found = cast(Any, lagged)(tape.traces[0], max_lag=4)["log10_lagged_norm"]
    expected = np.log10(H**0.5) + np.arange(5) * np.log10(rho)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_vanished_gradients_are_counted_and_not_averaged():
    """2^-150 is zero in single precision, and 2^-100 is not."""
    net = Recurrent("vanilla", 1, 1, bias=False, activation="identity")
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").fill_(2.0**-50)
    with trace(net) as tape:
        net(torch.ones(8, 1, 1))[0].sum().backward()
    found = lagged(tape.traces[0])
    np.testing.assert_allclose(found["log10_lagged_norm"][:3], -50 * np.log10(2) * np.arange(3), atol=1e-6)
    assert found["lagged_zero_fraction"].values.tolist() == [0, 0, 0, 1, 1, 1, 1, 1]
    assert found["log10_lagged_norm"][3:].isnull().all()
