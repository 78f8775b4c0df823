"""From configuration to network."""

from typing import Any

import pytest
import torch

from rnnlab.cells import CELLS
from rnnlab.config.config import Config
from rnnlab.training.models import SequenceModel, build_model, count_parameters

ADDING = {"kind": "adding", "length": 10}
STACK = {"num_layers": 3, "bidirectional": True}
SYMBOLS = {"task": {"kind": "copying", "length": 4}, "cell": {"kind": "gru", "hidden_size": 6}, "dtype": "float64"}


def build(**sections) -> tuple[Config, SequenceModel]:
    config = Config.parse({**SYMBOLS, **sections})
    return config, SequenceModel(config)


def test_an_embedding_of_unit_vectors_is_one_hot():
    config, one_hot = build()
    _, embedded = build(model={"input": "embedding", "embedding_size": config.task.input_size})
    assert embedded.encode.embedding is not None
    with torch.no_grad():
        embedded.encode.embedding.weight.copy_(torch.eye(config.task.input_size))
    batch = config.task.sample(torch.Generator().manual_seed(0), 3)
    torch.testing.assert_close(embedded(batch.inputs)[0], one_hot(batch.inputs)[0], rtol=0, atol=1e-14)


def test_an_embedding_is_trained():
    config, model = build(model={"input": "embedding", "embedding_size": 3})
    batch = config.task.sample(torch.Generator().manual_seed(0), 3)
    config.task.losses(model(batch.inputs)[0], batch.targets).mean().backward()
    assert model.encode.embedding is not None and model.encode.embedding.weight.grad is not None
    assert (model.encode.embedding.weight.grad != 0).any(-1).sum() >= 3  # blank, marker and some items occur


@pytest.mark.parametrize(("task", "answers"), [("adding", 1), ("copying", 24)])
def test_answers_stand_where_the_task_wants_them(task, answers):
    config, model = build(task={"kind": task, "length": 4})
    batch = config.task.sample(torch.Generator().manual_seed(0), 3)
    outputs, _ = model(batch.inputs)
    assert outputs.shape == (answers, 3, config.task.output_size)
    assert config.task.losses(outputs, batch.targets).shape == (answers, 3)


def test_arms_share_what_they_have_in_common_at_the_start():
    _, tanh = build(cell={"kind": "vanilla", "hidden_size": 6, "activation": "tanh"})
    _, relu = build(cell={"kind": "vanilla", "hidden_size": 6, "activation": "relu", "norm": "batch"})
    _, gru = build()
    assert torch.equal(tanh.readout.weight, gru.readout.weight)
    assert torch.equal(tanh.recurrent.get_parameter("weight_hh_l0"), relu.recurrent.get_parameter("weight_hh_l0"))
    _, other_seed = build(seed=1)
    assert not torch.equal(other_seed.readout.weight, gru.readout.weight)


def test_both_directions_and_layers_reach_the_readout():
    config, model = build(model={"num_layers": 2, "bidirectional": True, "residual_layers": True})
    assert model.readout.in_features == 12
    batch = config.task.sample(torch.Generator().manual_seed(0), 3)
    model(batch.inputs)[0].sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


@pytest.mark.parametrize("kind", ["vanilla", "lstm"])
def test_noise_before_the_first_step_keeps_batch_norm_from_exploding_on_constant_inputs(kind):
    """Without it the hidden state has no variance, and batch norm divides by the square root of its epsilon."""

    def gradient(noise: float) -> float:
        cell = {"kind": kind, "hidden_size": 16, "norm": "batch", "norm_noise": noise}
        _, model = build(task={"kind": "adding", "length": 40}, cell=cell)
        states = model.noisy_states(32, torch.Generator().manual_seed(0))
        inputs = torch.ones(40, 32, 2, dtype=torch.float64)
        inputs[-1] = torch.randn(32, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        model(inputs, states)[0].square().mean().backward()
        return float(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm())

    assert gradient(0.1) < 10
    assert not gradient(0.0) < 1e6


@pytest.mark.parametrize(
    "changes",
    [
        *({"cell": {"kind": kind, "hidden_size": 6}} for kind in CELLS),
        *({"cell": {"kind": kind, "hidden_size": 6}, "model": STACK} for kind in ("vanilla", "lstm", "lru")),
        {"cell": {"kind": "vanilla", "hidden_size": 6, "norm": "batch", "activation": "modrelu"}},
        {"cell": {"kind": "lstm", "hidden_size": 6, "proj_size": 4}, "model": {"num_layers": 2}},
        {"task": {"kind": "copying", "length": 5}, "model": STACK},
        {"task": {"kind": "temporal_order", "length": 20}, "model": {"input": "embedding", "embedding_size": 5}},
        {"task": {"kind": "reversal", "length": 4}, "model": STACK},
        {"task": {"kind": "reversal", "length": 4}, "model": {"input": "embedding"}},
        {"task": {"kind": "autoencoding", "features": 3}},
    ],
)
def test_the_count_is_that_of_the_network(changes: dict[str, Any]) -> None:
    config = Config.parse({"task": ADDING, "cell": {"kind": "vanilla", "hidden_size": 6}} | changes)
    built = sum(p.numel() for p in build_model(config).parameters() if p.requires_grad)
    assert count_parameters(config) == built
