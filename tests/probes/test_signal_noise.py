"""Agreement of examples against one backward pass for each of them."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence

from rnnlab.cells import CELLS
from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.signal_noise import signal_noise
from rnnlab.probes.tape import trace
from rnnlab.probes.trace import Trace

T, B, I, H = 6, 5, 3, 4

# All float64: means and variances of gradients that are summed in another order.
CLOSE: dict[str, Any] = {"rtol": 1e-9, "atol": 1e-12}


def layer(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return Recurrent(kind, I, H, **{"dtype": torch.float64, **options})


def examples(*lengths: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(n, I, generator=generator, dtype=torch.float64) for n in lengths]


def traced(net: Recurrent, x: Tensor, scale: float = 1.0) -> Trace:
    with trace(net) as tape:
        (scale * net(x)[0].sin().sum()).backward()
    return tape.traces[0]


def alone(net: Recurrent, sequences: list[Tensor]) -> dict[str, Tensor]:
    """(B, entries) by weight, from one pass an example."""
    parameters, rows = dict(net.named_parameters()), []
    for x in sequences:
        found = torch.autograd.grad(net(x[:, None])[0].sin().sum(), list(parameters.values()))
        rows.append([gradient.flatten() for gradient in found])
    return {name: torch.stack(gradients) for name, gradients in zip(parameters, zip(*rows, strict=True), strict=True)}


def check_weights(found: dict[str, Any], net: Recurrent, sequences: list[Tensor], direction: str = "forward") -> None:
    ending = "_l0_reverse" if direction == "reverse" else "_l0"
    rows = alone(net, sequences)
    for name in found["gradient_signal_noise"].weight.values:
        own = rows.get(f"{name}{ending}")
        if own is None:  # a constrained weight: the loop's parameter is another one than the equations see
            continue
        expected = own.mean(0).square().sum() / own.var(0).sum()
        assert float(found["gradient_signal_noise"].sel(weight=name)) == pytest.approx(
            float(expected), rel=1e-8, nan_ok=True
        )


@pytest.mark.parametrize("kind", sorted(CELLS))
def test_every_weight_against_one_pass_an_example(kind):
    net, sequences = layer(kind), examples(*[T] * B)
    found = signal_noise(traced(net, torch.stack(sequences, 1)))
    assert "weight_ih" in found["gradient_signal_noise"].weight  # and whatever else the steps of the cell read
    check_weights(found, net, sequences)


@pytest.mark.parametrize("options", [{"dilation": 3}, {"norm": "layer"}, {"norm": "batch"}], ids=str)
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_dilated_and_normalised_layers(kind, options):
    net, sequences = layer(kind, **options).eval(), examples(*[T] * B)
    check_weights(signal_noise(traced(net, torch.stack(sequences, 1))), net, sequences)


def test_padded_examples_in_both_directions():
    net, sequences = layer("lstm", bidirectional=True), examples(3, T, 1, 5)
    with trace(net) as tape:
        net(pack_sequence(sequences, enforce_sorted=False))[0].data.sin().sum().backward()
    for found in tape.traces:
        check_weights(signal_noise(found), net, sequences, found.direction)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_coherence_at_every_step_against_one_pass_an_example(kind):
    net, sequences = layer(kind), examples(3, T, 1, 5)
    with trace(net) as tape:
        net(pack_sequence(sequences, enforce_sorted=False))[0].data.sin().sum().backward()
    found = signal_noise(tape.traces[0])["gradient_coherence"]
    single = [traced(net, x[:, None]).total for x in sequences]
    for i, state in enumerate(net.cell.states):
        for t in range(T):
            own = [total[i][t, 0] for total in single if t < len(total[i])]
            expected = torch.stack(own).sum(0).norm() / sum(g.norm() for g in own)
            assert float(found.sel(state=state, time=t)) == pytest.approx(float(expected), rel=1e-9)


def test_examples_that_agree_and_examples_that_do_not():
    x = examples(T)[0][:, None]
    agreeing = signal_noise(traced(layer("gru"), x.repeat(1, 4, 1)))
    np.testing.assert_allclose(agreeing["gradient_coherence"], 1, **CLOSE)
    assert (agreeing["gradient_signal_noise"] > 1e25).all()  # only rounding differs
    net = layer("gru")
    with trace(net) as tape:
        y = net(x.repeat(1, 2, 1))[0]
        (y[:, 0] - y[:, 1]).sum().backward()
    opposed = signal_noise(tape.traces[0])
    np.testing.assert_allclose(opposed["gradient_coherence"], 0, **CLOSE)
    np.testing.assert_allclose(opposed["gradient_signal_noise"], 0, **CLOSE)


@pytest.mark.parametrize(("dtype", "scale", "error"), [(torch.float64, 1e-200, 1e-12), (torch.float32, 1e-30, 1e-4)])
def test_the_scale_of_the_loss_has_no_say(dtype, scale, error):
    """Squares of both scales underflow; float32 keeps seven digits, a few of which variances lose."""
    net, x = layer("lstm", dtype=dtype), torch.stack(examples(*[T] * B), 1).to(dtype)
    plain, small = signal_noise(traced(net, x)), signal_noise(traced(net, x, scale))
    for name, array in plain.items():
        np.testing.assert_allclose(small[name], array, rtol=error)


def test_what_is_undefined_is_not_measured():
    net = layer("lstm")
    single = signal_noise(traced(net, examples(T)[0][:, None]))
    assert np.isnan(single["gradient_signal_noise"]).all() and np.allclose(single["gradient_coherence"], 1)
    nothing = signal_noise(traced(net, torch.stack(examples(T, T), 1), scale=0.0))
    assert all(np.isnan(array).all() for array in nothing.values())
    for norm in ("batch", "batch_input"):
        assert signal_noise(traced(layer("gru", norm=norm), torch.stack(examples(T, T), 1))) == {}
