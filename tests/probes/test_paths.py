"""The gradient of a cell state splits into what comes along the cell state and what comes through the output."""

from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from torch import Tensor
from torch.nn.utils.rnn import pack_sequence
from unrolled import everywhere, last_step, unroll

from rnnlab.layers.recurrent import Recurrent
from rnnlab.probes.paths import paths
from rnnlab.probes.tape import trace
from rnnlab.probes.trace import Trace

T, B, I, H = 7, 4, 3, 5


def layer(kind: str = "lstm", **options: Any) -> Recurrent:
    torch.manual_seed(0)
    return Recurrent(kind, I, H, dtype=torch.float64, **options)


def traced(net: Recurrent, x: Tensor, loss) -> Trace:
    with trace(net) as tape:
        output, states = net(x)
        loss(output, states if isinstance(states, tuple) else (states,)).backward()
    return tape.traces[0]


def log10_mean(gradient: Tensor) -> float:
    """Mean over examples of log10 of the norm, of numbers far from underflow."""
    return float(gradient.norm(dim=-1).log10().mean())


@pytest.mark.parametrize("loss", [last_step, everywhere])
def test_plain_lstm_by_its_formulas(loss):
    net = layer()
    x = torch.randn(T, B, I, dtype=torch.float64)
    found = paths(traced(net, x, loss))
    loop = unroll(net, x)
    value = loss(loop.outputs, loop.states[-1])
    by_h, by_c = loop.gradients(value, 0), loop.gradients(value, 1)
    h, c = ([states[i].detach() for states in loop.states] for i in (0, 1))
    w = net.requires_grad_(False).weights()
    for t in range(T):
        before = h[t - 1] if t else torch.zeros_like(h[0])
        z = x[t] @ w.weight_ih.T + w.bias_ih + before @ w.weight_hh.T + w.bias_hh
        o = torch.sigmoid(z.chunk(4, -1)[3])
        hidden = by_h[t] * o * (1 - c[t].tanh() ** 2)
        own = {name: array.sel(time=t) for name, array in found.items() if "time" in array.dims}
        parts, sources = {"hidden": hidden}, {"hidden": by_h[t]}
        if t < T - 1:
            after = x[t + 1] @ w.weight_ih.T + w.bias_ih + h[t] @ w.weight_hh.T + w.bias_hh
            sources["cell"] = by_c[t + 1]
            parts["cell"] = by_c[t + 1] * torch.sigmoid(after.chunk(4, -1)[1])
        for path, part in parts.items():
            expected = (part * by_c[t]).sum(-1) / (by_c[t] ** 2).sum(-1)
            assert float(own["path_share"].sel(path=path)) == pytest.approx(float(expected.mean()), abs=1e-10)
            ratio = part.norm(dim=-1) / by_c[t].norm(dim=-1)
            assert float(own["path_ratio"].sel(path=path)) == pytest.approx(float(ratio.mean()), abs=1e-10)
            assert float(own["log10_path_norm"].sel(path=path)) == pytest.approx(log10_mean(part), abs=1e-10)
            gain = log10_mean(part) - log10_mean(sources[path])
            assert float(own["log10_path_gain"].sel(path=path)) == pytest.approx(gain, abs=1e-10)


VARIANTS = [
    {},
    {"forget_gate": False},
    {"norm": "batch"},
    {"norm": "layer"},
    {"dilation": 3},
    {"zoneout": 0.3},
    {"coupled": True},
    {"peepholes": True},
    {"output_gate": False},
    {"proj_size": 2},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_shares_add_up_to_one_in_every_variant(options):
    net = layer(**options)
    found = paths(traced(net, torch.randn(T, B, I, dtype=torch.float64), everywhere))
    # Parts are computed one by one from replayed steps, the whole by autograd: a few ulp of parts of order one, over a
    # sum that may be ten times smaller.
    np.testing.assert_allclose(found["path_share"].sum("path"), 1, rtol=1e-9)


@pytest.mark.parametrize("options", [{"peepholes": True}, {"coupled": True}, {"proj_size": 2}], ids=str)
def test_variants_by_cutting_the_graph(options):
    """The path along the cell state is the gradient that is left when the same step's output is cut off."""
    net = layer(**options)
    x = torch.randn(T, B, I, dtype=torch.float64)
    found = paths(traced(net, x, everywhere))
    for t in range(T - 1):
        with torch.no_grad():
            loop = unroll(net, x[: t + 1])
        h, c = loop.states[-1]
        c = c.detach().requires_grad_()
        state = tuple(s.unsqueeze(0) for s in (h.detach(), c))
        output, finals = net(x[t + 1 :], state)
        (cell,) = torch.autograd.grad(everywhere(output, finals), c)
        assert float(found["log10_path_norm"].sel(path="cell", time=t)) == pytest.approx(log10_mean(cell), abs=1e-10)


def test_without_recurrent_weights_the_gate_alone_decides():
    """c_t = f c_{t-1} + i g with a constant f: log10 norms of the cell path fall by log10 f a step, exactly."""
    net = layer()
    f = 0.8
    with torch.no_grad():
        net.get_parameter("weight_hh_l0").zero_()
        net.get_parameter("weight_ih_l0")[H : 2 * H] = 0
        net.get_parameter("bias_ih_l0")[H : 2 * H] = torch.logit(torch.tensor(f, dtype=torch.float64))
        net.get_parameter("bias_hh_l0")[H : 2 * H] = 0
    found = paths(traced(net, torch.randn(T, B, I, dtype=torch.float64), last_step))
    cell = found["log10_path_norm"].sel(path="cell").values
    np.testing.assert_allclose(np.diff(cell[:-1]), -np.log10(f), rtol=1e-10)
    np.testing.assert_allclose(found["log10_path_gain"].sel(path="cell")[:-1], np.log10(f), rtol=1e-10)
    np.testing.assert_allclose(found["path_share"].sel(path="cell")[:-1], 1, rtol=1e-12)


def test_spectral_norms_of_the_blocks():
    net = layer()
    found = paths(traced(net, torch.randn(T, B, I, dtype=torch.float64), last_step))["recurrent_norm"]
    for gate, block in zip(
        ("input", "forget", "cell", "output"), net.get_parameter("weight_hh_l0").detach().chunk(4), strict=True
    ):
        largest = torch.linalg.eigvalsh(block.T @ block).max().sqrt()
        assert float(found.sel(gate=gate)) == pytest.approx(float(largest), rel=1e-10)


@pytest.mark.parametrize("direction", ["forward", "reverse"])
def test_padded_steps_are_not_measured_and_time_is_the_callers(direction):
    net = layer(bidirectional=True)
    lengths = (3, T, 1, 5)
    sequences = [torch.randn(n, I, dtype=torch.float64) for n in lengths]
    with trace(net) as tape:
        output, _ = net(pack_sequence(sequences, enforce_sorted=False))
        output.data.sin().sum().backward()
    found = paths(next(t for t in tape.traces if t.direction == direction))
    alone = []
    for x in sequences:
        with trace(net) as tape:
            net(x.unsqueeze(1))[0].sin().sum().backward()
        alone.append(paths(next(t for t in tape.traces if t.direction == direction)))
    for name in ("path_share", "path_ratio", "log10_path_gain"):
        for t in range(T):
            examples = [one[name].sel(time=t) for one in alone if t < one[name].sizes["time"]]
            expected = xr.concat(examples, "example").mean("example")
            np.testing.assert_allclose(found[name].sel(time=t), expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", ["vanilla", "gru"])
def test_cells_without_cell_state_have_no_such_paths(kind):
    assert paths(traced(layer(kind), torch.randn(T, B, I, dtype=torch.float64), last_step)) == {}


def test_tiny_single_precision_gradients_keep_their_shares():
    net = layer().float()
    x = torch.randn(T, B, I)
    small = paths(traced(net, x, lambda output, states: 1e-30 * output[-1].sum()))
    large = paths(traced(net, x, lambda output, states: output[-1].sum()))
    # Powers of ten are no powers of two: scaling rounds every number once, to 24 bits.
    np.testing.assert_allclose(small["path_share"], large["path_share"], atol=1e-5)
    drop = (small["log10_path_norm"] - large["log10_path_norm"]).sel(path=["cell", "hidden"]).values
    np.testing.assert_allclose(drop[np.isfinite(drop)], -30, atol=1e-5)
