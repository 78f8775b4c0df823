"""What penalties are asked of: the states and total gradients of a traced pass, by whatever engine the pass runs."""

from typing import Any

import pytest
import torch

import rnnlab
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.probes.trace import Trace
from rnnlab.remedies.truncation import Truncation
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.models import build_model
from rnnlab.training.penalties import UnrolledLayer, follow

B, H = 3, 5
LONG, SHORT = {"kind": "adding", "length": 20}, {"kind": "adding", "length": 2}  # by kernels, and by the reference
CASES: dict[str, dict[str, Any]] = {
    "kernel": {"cell": {"kind": "vanilla"}},
    "reference": {"cell": {"kind": "vanilla"}, "task": SHORT},
    "residual": {"cell": {"kind": "vanilla", "activation": "softsign", "residual": 0.3}},
    "compiled": {"cell": {"kind": "irnn"}},
    "two states": {"cell": {"kind": "lstm"}},
    "outputs that are no state": {"cell": {"kind": "lru"}},
    "stack": {"cell": {"kind": "gru"}, "model": {"num_layers": 2, "bidirectional": True, "residual_layers": True}},
    "dilated": {"cell": {"kind": "vanilla"}, "model": {"num_layers": 2, "dilation": [1, 3]}},
    "dilated beyond the end": {"cell": {"kind": "vanilla"}, "model": {"dilation": 4}, "task": SHORT},
    "decoder": {"cell": {"kind": "gru"}, "task": {"kind": "reversal", "length": 6, "fillers": 0.5}},
}


def followed(config: Config, *remedies: Truncation) -> tuple[list[UnrolledLayer], list[Trace]]:
    """The layers of a pass, and a trace of the same pass, which sees every step."""
    model, batch = build_model(config), config.task.sample(make_generator(0, "penalties"), B)
    with follow(model) as pass_:
        backpropagate(model, config.task, batch, remedies)
    with rnnlab.trace(model) as tape:
        backpropagate(model, config.task, batch, remedies)
    return pass_.layers(), tape.traces


def configured(case: str, dtype: str) -> Config:
    cell = {**CASES[case]["cell"], "hidden_size": H}
    return Config.parse({"task": LONG, **CASES[case], "cell": cell, "dtype": dtype})


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_layers_are_those_of_a_trace(case: str, dtype: str) -> None:
    layers, traces = followed(configured(case, dtype))
    rtol, atol = (1e-10, 1e-13) if dtype == "float64" else (1e-4, 1e-6)
    assert len(layers) == len(traces)
    for layer, trace in zip(layers, traces, strict=True):
        torch.testing.assert_close(layer.projected, trace.u, rtol=rtol, atol=atol)
        for found, expected in ((layer.states, trace.before), (layer.gradients, trace.total)):
            assert not any(each.requires_grad for each in found)
            torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize("dilation", [1, 3])
def test_each_window_is_a_pass_of_its_own(dilation: int) -> None:
    """Two windows of a sequence with an answer at every step, the second from the states that the first has left."""
    task = {"kind": "copying", "length": 5}
    config = Config.parse({**CASES["kernel"], "task": task, "model": {"dilation": dilation}, "dtype": "float64"})
    layers, traces = followed(config, Truncation(window=13))
    assert len(layers) == len(traces) > 1 and layers[1].states[0][:dilation].any((1, 2)).all()
    for layer, trace in zip(layers, traces, strict=True):
        torch.testing.assert_close((*layer.states, *layer.gradients), (*trace.before, *trace.total))
