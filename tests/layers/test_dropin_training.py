"""Our layers in the company of torch's training tools: autocast, parametrisations, functional calls, copies, DDP."""

import copy
import io
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from forked import Forked
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrizations
from torch.nn.utils.rnn import pack_padded_sequence

import rnnlab

T, B, I, H = 9, 4, 3, 5
NAMES = ["RNN", "LSTM", "GRU"]


def twins(name: str, **options: Any) -> tuple[nn.RNNBase, nn.RNNBase]:
    """The same layer twice, from the same seed and so with the same weights."""
    layers = []
    for library in (nn, rnnlab):
        torch.manual_seed(0)
        layers.append(getattr(library, name)(I, H, **options))
    return layers[0], layers[1]


def flat(output: Any) -> list[Tensor]:
    y, states = output
    return [y if isinstance(y, Tensor) else y.data, *(states if isinstance(states, tuple) else (states,))]


def gradient_norms(layer: nn.Module, x: Tensor) -> np.ndarray:
    with rnnlab.record(layer) as log:
        layer(x)[0][-1].square().sum().backward()
    return log.dataset()["log10_grad_norm"].values


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("with_states", [False, True])
@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(("name", "options"), [*((n, {}) for n in NAMES), ("LSTM", {"proj_size": 2})], ids=str)
def test_autocast_gives_torchs_dtypes_and_nearly_its_values(name, options, given, weights, with_states, packed):
    if given is torch.float64:
        weights = torch.float64  # autocast leaves it alone
    theirs, ours = twins(name, dtype=weights, num_layers=2, **options)
    x: Any = torch.randn(T, B, I, dtype=given)
    x = pack_padded_sequence(x, [9, 7, 7, 2]) if packed else x
    h, c = torch.zeros(2, B, options.get("proj_size", H), dtype=given), torch.zeros(2, B, H, dtype=given)
    hx = None if not with_states else (h, c) if name == "LSTM" else h
    with torch.autocast("cpu", torch.bfloat16):
        found = flat(ours(x, hx))
        try:
            expected = flat(theirs(x, hx))
        except RuntimeError as refused:  # oneDNN has no LSTM in bfloat16 for processors without AVX-512
            assert "primitive descriptor" in str(refused)
            pytest.skip("torch's own layer cannot run in bfloat16 on this processor")
    assert [t.dtype for t in found] == [t.dtype for t in expected]
    # bfloat16 keeps 8 bits: half an ulp at every step, on values below 1.
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a.float(), b.float(), rtol=0, atol=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_recording_under_autocast_sees_nearly_the_same_profile(name):
    layer = twins(name)[1]
    x = torch.randn(T, B, I)
    expected = gradient_norms(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = gradient_norms(layer, x)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, expected, atol=0.1)  # products of T factors, each good to 1 %


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize(
    "constrain",
    [
        lambda layer: parametrizations.weight_norm(layer, "weight_hh_l0"),
        lambda layer: parametrizations.spectral_norm(layer, "weight_hh_l0"),
        lambda layer: nn.utils.weight_norm(layer, "weight_ih_l1"),
        lambda layer: nn.utils.spectral_norm(layer, "weight_hh_l0"),
        lambda layer: parametrizations.orthogonal(layer, "weight_hh_l0"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_constrained_weights(name, constrain: Callable[[nn.Module], nn.Module]):
    layers = [constrain(layer) for layer in twins(name, num_layers=2, dtype=torch.float64)]
    layers[1].load_state_dict(layers[0].state_dict())
    x = torch.randn(T, B, I, dtype=torch.float64)
    for layer in layers:
        layer.eval()(x)[0].sin().sum().backward()  # evaluation: spectral norm would take a step of its power method
    for (a, p), (b, q) in zip(*(layer.named_parameters() for layer in layers), strict=True):
        assert a == b and p.grad is not None
        torch.testing.assert_close(q.grad, p.grad, rtol=1e-10, atol=1e-12)
    plain = twins(name, num_layers=2, dtype=torch.float64)[1]
    plain.load_state_dict({name: getattr(layers[1], name) for name in plain.state_dict()})
    np.testing.assert_allclose(gradient_norms(layers[1], x), gradient_norms(plain, x), atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_functional_call_and_maps_over_weights(name):
    theirs, ours = twins(name, dtype=torch.float64, bidirectional=True)
    x = torch.randn(T, B, I, dtype=torch.float64)
    before = ours(x)[0]
    sets = [{n: torch.randn_like(p) for n, p in theirs.named_parameters()} for _ in range(3)]
    expected = [torch.func.functional_call(theirs, weights, (x,))[0] for weights in sets]
    for weights, y in zip(sets, expected, strict=True):
        found = torch.func.functional_call(ours, weights, (x,))[0]
        torch.testing.assert_close(found, y, rtol=1e-12, atol=1e-12)
    stacked = {n: torch.stack([weights[n] for weights in sets]) for n in sets[0]}
    mapped = torch.func.vmap(lambda w: torch.func.functional_call(ours, w, (x,))[0])(stacked)
    torch.testing.assert_close(mapped, torch.stack(expected), rtol=1e-12, atol=1e-12)
    assert torch.equal(ours(x)[0], before)


@pytest.mark.parametrize("name", NAMES)
def test_copies_made_while_recording_are_free_of_it(name):
    layer = twins(name, dtype=torch.float64)[1]
    x = torch.randn(T, B, I, dtype=torch.float64)
    with rnnlab.record(layer) as log:
        layer(x)[0].sum().backward()
        file = io.BytesIO()
        torch.save(layer, file)
        file.seek(0)
        copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), torch.load(file, weights_only=False)]
        for other in copies:
            assert other.observers == []
            other.zero_grad()
            other(x)[0].sum().backward()
            for p, q in zip(layer.parameters(), other.parameters(), strict=True):
                assert p.grad is not None and torch.equal(q.grad, p.grad)
    assert log.dataset().sizes["step"] == 1


def wrapped_step(rank: int, world: int, folder: str) -> int:
    """One step of one process: its share of the batch through DDP, recorded."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/rendezvous{world}", rank=rank, world_size=world)
    try:
        for name in NAMES:
            layer, (x, y) = twins(name, dtype=torch.float64, num_layers=2)[1], batch()
            x, y = x.chunk(world, 1)[rank], y.chunk(world, 1)[rank]
            model = DistributedDataParallel(layer)
            with rnnlab.record(model) as log:
                (model(x)[0] - y).square().mean().backward()
            plain = copy.deepcopy(layer)
            with rnnlab.record(plain) as expected:
                (plain(x)[0] - y).square().mean().backward()
            for key, norms in expected.steps[0].norms.items():
                np.testing.assert_allclose(log.steps[0].norms[key].mean, norms.mean, atol=1e-12)
            torch.save([p.grad for p in layer.parameters()], f"{folder}/{name}{world}{rank}.pt")
    finally:
        dist.destroy_process_group()
    return 0


def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.randn(T, B, I, dtype=torch.float64, generator=generator),
        torch.randn(T, B, H, dtype=torch.float64, generator=generator),
    )


@pytest.mark.slow
@pytest.mark.parametrize("world", [1, 2])
def test_distributed_data_parallel_averages_torchs_gradients(world, tmp_path: Path):
    if world == 1:
        wrapped_step(0, 1, str(tmp_path))
    else:
        logs = [tmp_path / f"{rank}.log" for rank in range(world)]
        steps = [Forked(wrapped_step, rank, world, str(tmp_path), output=log) for rank, log in enumerate(logs)]
        assert [step.wait(60) for step in steps] == [0] * world, [log.read_text() for log in logs]
    for name in NAMES:
        theirs, (x, y) = twins(name, dtype=torch.float64, num_layers=2)[0], batch()
        (theirs(x)[0] - y).square().mean().backward()
        for rank in range(world):
            found = torch.load(tmp_path / f"{name}{world}{rank}.pt")
            for p, gradient in zip(theirs.parameters(), found, strict=True):
                torch.testing.assert_close(gradient, p.grad, rtol=1e-12, atol=1e-12)
