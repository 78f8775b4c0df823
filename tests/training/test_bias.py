"""What truncation and clipping change about the gradient, and that looking leaves no mark."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.remedies import Remedy
from rnnlab.remedies.clipping import Clipping
from rnnlab.remedies.truncation import Truncation
from rnnlab.tasks import Batch
from rnnlab.theory import scalar_relative_bias
from rnnlab.training.backpropagation import backpropagate
from rnnlab.training.bias import gradient_bias
from rnnlab.training.models import SequenceModel, build_model
from rnnlab.training.side_pass import side_pass

T, B = 12, 6

# float64: sums over windows in another order.
CLOSE: dict[str, Any] = {"rtol": 1e-12, "atol": 1e-12}


def experiment(kind: str = "lstm", **changes: Any) -> tuple[Config, Any, Batch]:
    base = {"task": {"kind": "copying", "length": 2}, "cell": {"kind": kind, "hidden_size": 5}, "dtype": "float64"}
    config = Config.parse(override(base, {name.replace("__", "."): value for name, value in changes.items()}))
    return config, build_model(config), config.task.sample(torch.Generator().manual_seed(0), B)


def gradient(config: Config, model: SequenceModel, batch: Batch, *remedies: Remedy) -> dict[str, Tensor]:
    model.zero_grad()
    backpropagate(model, config.task, batch, remedies)
    found = {name: p.grad.flatten() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found | {"all": torch.cat(list(found.values()))}


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_a_full_window_has_no_bias(kind):
    config, model, batch = experiment(kind)
    for remedies in ([], [Truncation(window=config.task.steps, stride=5)]):
        found = gradient_bias(model, config.task, batch, remedies)
        np.testing.assert_allclose(found["gradient_cosine"], 1, **CLOSE)
        np.testing.assert_allclose(found["gradient_ratio"], 1, **CLOSE)
        np.testing.assert_allclose(found["gradient_bias"], 0, **CLOSE)


@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_truncated_against_full_gradient_by_parameter(kind):
    config, model, batch = experiment(kind)
    truncation = Truncation(window=5, stride=2)
    full, cut = gradient(config, model, batch), gradient(config, model, batch, truncation)
    found = gradient_bias(model, config.task, batch, [truncation])
    assert list(found.parameter.values) == list(full)
    for name in full:
        own = found.sel(parameter=name)
        g, k = full[name].numpy(), cut[name].numpy()
        expected = k @ g / math.sqrt(k @ k * (g @ g))
        np.testing.assert_allclose(own["gradient_cosine"], expected, **CLOSE)
        np.testing.assert_allclose(own["gradient_ratio"], math.sqrt(k @ k / (g @ g)), **CLOSE)
        np.testing.assert_allclose(own["gradient_bias"], math.sqrt((k - g) @ (k - g) / (g @ g)), **CLOSE)
    assert 0.01 < found["gradient_bias"].sel(parameter="all") < 1  # the window does cut something


@pytest.mark.parametrize(("decay", "scale"), [(0.8, 1.0), (0.99, 1.0), (0.8, 1e-200)])
@pytest.mark.parametrize("window", [1, 2, 5, T])
def test_a_scalar_linear_recurrence_has_the_bias_of_a_geometric_series(window, decay, scale):
    config, model, _ = experiment("vanilla", task={"kind": "adding", "length": T}, cell__hidden_size=1,
                                  cell__activation="identity")  # fmt: skip
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.fill_(decay if "weight_hh" in name else 0.0 if "bias" in name else 1.0)
        model.readout.weight.fill_(scale)
    batch = Batch(torch.ones(T, 1, 2, dtype=torch.float64), torch.ones(1, 1, 1, dtype=torch.float64))
    own = gradient_bias(model, config.task, batch, [Truncation(window=window)]).sel(parameter="recurrent.weight_ih_l0")
    expected = scalar_relative_bias(decay, window, T)
    np.testing.assert_allclose(own["gradient_bias"], expected, **CLOSE)
    np.testing.assert_allclose(own["gradient_ratio"], 1 - expected, **CLOSE)
    np.testing.assert_allclose(own["gradient_cosine"], 1, **CLOSE)


def test_clipping_by_norm_scales_and_clipping_by_value_turns():
    config, model, batch = experiment()
    whole = gradient(config, model, batch)["all"]
    norm = float(whole.norm())
    by_norm = gradient_bias(model, config.task, batch, [Clipping(threshold=0.25 * norm)])
    np.testing.assert_allclose(by_norm["gradient_cosine"], 1, **CLOSE)
    np.testing.assert_allclose(by_norm["gradient_ratio"], 0.25, **CLOSE)
    np.testing.assert_allclose(by_norm["gradient_bias"], 0.75, **CLOSE)
    threshold = 0.1 * float(whole.abs().max())
    by_value = gradient_bias(model, config.task, batch, [Clipping(by="value", threshold=threshold)])
    cut = whole.clamp(-threshold, threshold)
    expected = float(cut @ whole / (cut.norm() * norm))
    assert expected < 0.99
    np.testing.assert_allclose(by_value["gradient_cosine"].sel(parameter="all"), expected, **CLOSE)


def test_states_before_the_first_step_enter_both():
    config, model, batch = experiment("gru")
    states = torch.randn(1, B, 5, dtype=torch.float64)
    found = gradient_bias(model, config.task, batch, [Truncation(window=config.task.steps)], states)
    np.testing.assert_allclose(found["gradient_bias"], 0, **CLOSE)
    window = Truncation(window=config.task.steps - 1)
    with_states = gradient_bias(model, config.task, batch, [window], states)
    assert not with_states.identical(gradient_bias(model, config.task, batch, [window]))


@pytest.mark.parametrize("options", [{"cell__norm": "batch"}, {"cell__zoneout": 0.3}], ids=str)
def test_looking_leaves_no_mark_and_both_gradients_share_their_noise(options):
    config, model, batch = experiment("gru", **options)
    model.train()
    model.recurrent.noise = torch.Generator().manual_seed(3)
    backpropagate(model, config.task, batch)
    gradients = [(p.grad, p.grad.clone()) for p in model.parameters()]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    streams = [torch.get_rng_state(), model.recurrent.noise.get_state()]
    found = gradient_bias(model, config.task, batch, [Truncation(window=config.task.steps)])
    np.testing.assert_allclose(found["gradient_bias"], 0, **CLOSE)
    for parameter, (gradient, values) in zip(model.parameters(), gradients, strict=True):
        assert parameter.grad is gradient and torch.equal(gradient, values)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())
    after = [torch.get_rng_state(), model.recurrent.noise.get_state()]
    assert all(torch.equal(a, b) for a, b in zip(streams, after, strict=True))


def test_what_happens_aside_is_undone_even_when_it_fails():
    config, model, batch = experiment("gru", cell__norm="batch", cell__zoneout=0.3)
    buffers, stream = [b.clone() for b in model.buffers()], torch.get_rng_state()
    with pytest.raises(KeyboardInterrupt), side_pass(model):
        backpropagate(model, config.task, batch)
        assert not all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
        assert not torch.equal(stream, torch.get_rng_state())
        raise KeyboardInterrupt
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers(), strict=True))
    assert torch.equal(stream, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


def test_a_gradient_of_zero_has_no_bias_to_speak_of():
    config, model, batch = experiment()
    with torch.no_grad():
        model.readout.weight.zero_()
    found = gradient_bias(model, config.task, batch, [Truncation(window=3)]).sel(parameter="recurrent.weight_hh_l0")
    assert all(np.isnan(array) for array in found.data_vars.values())
