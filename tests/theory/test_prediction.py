"""Predictions name what applies, and agree with what the configured network shows."""

import math
from typing import Any

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.gradients.decay import fit_decay
from rnnlab.theory import Prediction, mean_field_slope, predict
from rnnlab.training.models import SequenceModel


def configure(cell: dict[str, Any], init: dict[str, Any] | None = None, **more: Any) -> Config:
    task = {"kind": "delayed_recall", "length": 40}
    return Config.parse({"task": task, "cell": cell, "init": init or {}, "dtype": "float64", **more})


def named(config: Config) -> dict[str, Prediction]:
    return {prediction.name: prediction for prediction in predict(config)}


def measure(config: Config, state: str) -> tuple[np.ndarray, np.ndarray]:
    """log10 norms (T,) of the configured network at its initial weights, and the lags."""
    model = SequenceModel(config)
    batch = config.task.sample(make_generator(config.seed, "train"), 16)
    with rnnlab.record(model) as log:
        config.task.losses(model(batch.inputs)[0], batch.targets).mean().backward()
    norms = log.dataset()["log10_grad_norm"].sel(state=state).values.squeeze()
    return norms, np.arange(len(norms))[::-1]


def test_each_configuration_gets_the_theories_that_cover_it():
    def names(*args: Any, **more: Any) -> list[str]:
        return [prediction.name for prediction in predict(configure(*args, **more))]

    vanilla = {"kind": "vanilla", "hidden_size": 16}
    assert names(vanilla) == ["linearised at rest", "mean field", "norm bound"]
    assert names({**vanilla, "activation": "identity"}) == ["spectral radius", "norm bound"]
    assert names({**vanilla, "activation": "modrelu"}, {"recurrent": "orthogonal"}) == [
        "scaled orthogonal",
        "norm bound",
    ]
    assert names({**vanilla, "residual": 0.1}) == ["linearised at rest", "norm bound"]
    assert names(vanilla, {"recurrent": "identity"}) == ["linearised at rest", "norm bound"]
    assert names(vanilla, model={"num_layers": 2}) == ["norm bound"]
    assert names({"kind": "gru", "hidden_size": 16}) == ["linearised at rest"]
    assert names({**vanilla, "norm": "batch"}) == []
    assert names({**vanilla, "zoneout": 0.1}) == []


def test_predicting_leaves_torchs_random_stream_alone():
    before = torch.get_rng_state()
    first = predict(configure({"kind": "vanilla", "hidden_size": 16}))
    assert torch.equal(torch.get_rng_state(), before)
    assert predict(configure({"kind": "vanilla", "hidden_size": 16})) == first


@pytest.mark.parametrize("activation", ["identity", "modrelu"])
def test_scaled_orthogonal_is_exact(activation):
    config = configure(
        {"kind": "vanilla", "activation": activation}, {"recurrent": "orthogonal", "recurrent_scale": 0.9}
    )
    found = named(config)["scaled orthogonal"]
    norms, lag = measure(config, "h")
    # Starting values are drawn in single precision.
    assert found.kind == "exact" and found.slope == pytest.approx(math.log10(0.9), abs=1e-6)
    assert fit_decay(norms, lag).slope == pytest.approx(found.slope, abs=1e-6)


def test_a_linear_residual_recurrence_follows_its_own_jacobian():
    cell = {"kind": "vanilla", "activation": "identity", "residual": 0.5}
    config = configure(cell, {"recurrent": "identity", "recurrent_scale": 0.25})
    norms, lag = measure(config, "h")
    found = named(config)["scaled orthogonal"]
    assert found.slope == pytest.approx(math.log10(1 + 0.5 * 0.25), abs=1e-12)
    assert fit_decay(norms, lag).slope == pytest.approx(found.slope, abs=1e-9)


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("residual", [None, 0.2])
def test_the_bound_is_that_of_the_top_layer_and_never_exceeded(layers, residual):
    config = configure({"kind": "vanilla", "hidden_size": 32, "residual": residual}, model={"num_layers": layers})
    norms, _ = measure(config, "h")
    top = norms if layers == 1 else norms[-1]
    assert (top[:-1] - top[1:]).max() <= named(config)["norm bound"].slope
    W = SequenceModel(config).recurrent.get_parameter(f"weight_hh_l{layers - 1}").detach()
    stretch = float(torch.linalg.svdvals(W)[0])
    assert 10 ** named(config)["norm bound"].slope == pytest.approx(stretch if residual is None else 1 + 0.2 * stretch)


def test_mean_field_reads_both_variances_off_the_configuration():
    H, size = 300, 300
    config = Config.parse(
        {
            "task": {"kind": "temporal_order", "length": 20},
            "cell": {"kind": "vanilla", "hidden_size": H},
            "init": {"bias": "zero"},
            "model": {"input": "embedding", "embedding_size": size},
        }
    )
    # U(±1/√H) has variance 1/(3H), and an embedding has `size` entries of variance 1.
    expected = mean_field_slope("tanh", 1 / math.sqrt(3), math.sqrt(size / (3 * H)))
    # The squared length of six embeddings scatters by √(2 / (6 · 300)) = 3%, which moves the slope by 0.002.
    assert named(config)["mean field"].slope == pytest.approx(expected, abs=0.006)


@pytest.mark.parametrize("task", ["adding", "temporal_order"])
def test_mean_field_is_near_what_the_task_shows(task):
    slopes, predicted = [], []
    for seed in range(3):
        config = Config.parse(
            {
                "task": {"kind": task, "length": 20},
                "cell": {"kind": "vanilla", "hidden_size": 400},
                "init": {"recurrent": "glorot"},
                "seed": seed,
            }
        )
        norms, lag = measure(config, "h")
        slopes.append(fit_decay(norms[5:], lag[5:]).slope)
        predicted.append(named(config)["mean field"].slope)
    # Inputs of two to six features make the variance fluctuate from step to step, which the theory averages.
    assert np.mean(slopes) == pytest.approx(np.mean(predicted), abs=0.012)


REST = [
    ({"kind": "lstm"}, {}),
    ({"kind": "lstm", "forget_bias": 1.0}, {}),
    ({"kind": "lstm"}, {"bias": "chrono"}),
    ({"kind": "gru"}, {}),
    ({"kind": "gru"}, {"bias": "chrono"}),
    ({"kind": "mgu"}, {}),
    ({"kind": "lem"}, {}),
    ({"kind": "cornn"}, {}),
    ({"kind": "vanilla"}, {}),
]


@pytest.mark.parametrize(("cell", "init"), REST, ids=str)
def test_a_cell_linearised_at_rest_decays_as_the_profile_does(cell, init):
    config = configure({**cell, "hidden_size": 96}, init)
    norms, lag = measure(config, "h")
    # One answer enters instead of a random one, inputs move the state about its rest, and chrono profiles bend.
    found = named(config)["linearised at rest"].slope
    assert fit_decay(norms, lag).slope == pytest.approx(found, rel=0.2, abs=0.001)


def test_a_deep_stack_has_no_rest_state_that_its_input_tells():
    assert predict(configure({"kind": "gru", "hidden_size": 16}, model={"num_layers": 2})) == []
