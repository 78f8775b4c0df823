"""Probes along a run: they change nothing, survive interruptions, and measure the weights of their step."""

from typing import Any

import numpy as np
import pytest
import torch

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.training.checkpoint import load_checkpoint
from rnnlab.training.models import build_model
from rnnlab.training.probing import probed_steps
from rnnlab.training.result import Result
from rnnlab.training.runs import run

BASE = {
    "task": {"kind": "adding", "length": 6},
    "cell": {"kind": "gru", "hidden_size": 5},
    "training": {"steps": 50, "batch_size": 8, "eval_every": 25, "eval_examples": 20, "test_examples": 20},
    "recording": {"points": 4, "probe_points": 3},
}


def config(**changes: Any) -> Config:
    return Config.parse(override(BASE, {name.replace("__", "."): value for name, value in changes.items()}))


def final_state(cfg: Config, path) -> dict[str, Any]:
    """The checkpoint of a run after its last update: weights, statistics, moments, random streams, curves."""
    updates = 0

    def stop() -> bool:
        nonlocal updates
        updates += 1
        return updates == cfg.training.steps

    with pytest.raises(Interrupted):
        run(cfg, checkpoint=path, should_stop=stop)
    state = load_checkpoint(path)
    assert state is not None
    return {name: state[name] for name in ("model", "moments", "generator", "noise", "recorder", "history")}


def bits(value: Any) -> Any:
    """Nested data with every number as its bits, so that NaN equals itself."""
    if isinstance(value, torch.Tensor):
        return str(value.dtype), value.shape, value.numpy().tobytes()
    if isinstance(value, dict):
        return {name: bits(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [bits(part) for part in value]
    return value.hex() if isinstance(value, float) else value


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
@pytest.mark.parametrize(
    "options",
    [{}, {"norm": "batch", "norm_noise": 0.1}, {"zoneout": 0.2}],
    ids=["plain", "batch norm", "zoneout"],
)
def test_probes_change_no_bit_of_a_run(tmp_path, kind, options):
    assert_probes_change_no_bit(tmp_path, {"kind": "adding", "length": 6}, kind, options)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["vanilla", "lstm", "gru"])
def test_probes_change_no_bit_where_many_steps_are_answered(tmp_path, kind):
    """With batch norm and zoneout at once."""
    options = {"norm": "batch", "zoneout": 0.2}
    assert_probes_change_no_bit(tmp_path, {"kind": "copying", "length": 1}, kind, options)


def assert_probes_change_no_bit(tmp_path, task, kind, options):
    cell = {"kind": kind, "hidden_size": 5, **options}
    clipping = {"threshold": 0.01} if kind == "gru" else None
    # Probed before the first update and, with statistics, moments and streams on their way, in the last.
    short = {"training__steps": 20, "training__eval_every": 10, "recording__probe_points": 2}
    states = []
    for probes in ("light", "full"):
        torch.manual_seed(0)
        cfg = config(task=task, cell=cell, remedies__clipping=clipping, recording__probes=probes, **short)
        states.append(final_state(cfg, tmp_path / probes))
        states[-1]["global"] = torch.get_rng_state()
    assert bits(states[0]) == bits(states[1])


@pytest.fixture(scope="module")
def uninterrupted() -> Result:
    """A run with every probe and what draws, truncates and clips."""
    remedies = {"remedies__truncation": {"window": 3}, "remedies__clipping": {"threshold": 1}}
    return run(config(recording__probes="full", cell__zoneout=0.2, **remedies))


@pytest.mark.slow
@pytest.mark.parametrize("stop_after", [1, 6, 8, 49])
def test_an_interrupted_run_measures_the_same_bits(tmp_path, uninterrupted, stop_after):
    cfg = uninterrupted.config
    updates, checkpoint = 0, tmp_path / "checkpoint.pt"

    def stop() -> bool:
        nonlocal updates
        updates += 1
        return updates == stop_after

    with pytest.raises(Interrupted):
        run(cfg, checkpoint=checkpoint, should_stop=stop)
    resumed, whole = run(cfg, checkpoint=checkpoint).probes, uninterrupted.probes
    assert resumed is not None and whole is not None and resumed.identical(whole)
    assert resumed["train_step"].values.tolist() == [0, 6, 49]


def test_what_is_measured_first_is_the_network_at_initialisation():
    cfg = config(recording__probes="full", dtype="float64")
    measured = run(cfg).probes
    assert measured is not None
    model = build_model(cfg)
    batch = cfg.task.sample(make_generator(cfg.seed, "train"), cfg.training.batch_size)
    with rnnlab.trace(model) as tape:
        cfg.task.losses(model(batch.inputs)[0], batch.targets).mean().backward()
    expected = rnnlab.measure(tape.traces, "full")
    first = measured.isel(step=0)
    assert set(measured.data_vars) == set(expected.data_vars)
    for name, array in expected.data_vars.items():
        assert first[name].dims == array.dims
        # The mean over a batch and the sum over answers divided by their number differ by a rounding.
        np.testing.assert_allclose(first[name], array, rtol=1e-6, atol=1e-9, err_msg=str(name))
    assert not measured["mean_slope"].isel(step=0).equals(measured["mean_slope"].isel(step=-1))


def test_the_profile_and_the_probes_agree_but_for_the_scale_of_the_loss():
    result = run(config(recording__probes="standard", recording__points=3))
    assert result.profile is not None and result.probes is not None
    assert result.profile["train_step"].equals(result.probes["train_step"])
    scale = np.log10(result.profile.attrs["loss_reduction_scale"] / result.probes.attrs["loss_reduction_scale"])
    # float32 gradients, reached by another order of sums: seven digits.
    difference = result.profile["log10_grad_norm"] - scale - result.probes["log10_grad_norm"]
    assert difference.shape == result.probes["log10_grad_norm"].shape and float(abs(difference).max()) < 1e-5


def test_truncation_and_clipping_are_compared_with_the_full_gradient():
    plain = run(config(recording__probes="standard")).probes
    cut = run(config(recording__probes="standard", remedies__truncation={"window": 2})).probes
    assert plain is not None and cut is not None
    assert set(cut.data_vars) - set(plain.data_vars) == {"gradient_cosine", "gradient_ratio", "gradient_bias"}
    bias = cut["gradient_bias"].sel(parameter="recurrent.weight_hh_l0")
    assert (bias > 0.01).all() and (cut["gradient_bias"].sel(parameter="readout.weight") < 1e-5).all()
    # What is traced is the way back through all steps, not the truncated one.
    assert cut.sizes["time"] == 6 and np.isfinite(cut["log10_grad_norm"]).all()


def test_an_explosion_is_still_an_outcome():
    cfg = config(cell={"kind": "vanilla", "activation": "relu", "hidden_size": 5}, init__recurrent_scale=1e6,
                 optimizer={"kind": "sgd", "lr": 1e30}, task__length=30, recording__probes="full",
                 recording__probe_points=50)  # fmt: skip
    result = run(cfg)
    assert result.outcome == "diverged" and result.probes is not None


def test_steps_that_are_not_kept_cannot_be_probed():
    with pytest.raises(UserError, match=r"recording\.probes = 'full' needs every step.* set it to null"):
        config(recording__probes="full", model={"checkpoint_every": 3})


def test_light_traces_nothing_and_probed_steps_start_at_initialisation():
    assert run(config()).probes is None
    assert probed_steps(config().recording, 1000) == frozenset()
    cfg = config(recording__probes="standard", recording__probe_points=5)
    chosen = sorted(probed_steps(cfg.recording, 1000))
    assert chosen[0] == 0 and chosen[-1] == 999 and len(chosen) == 5
    assert probed_steps(config(recording__probes="full", recording__probe_points=1).recording, 10) == {0}


def test_a_run_that_is_over_before_its_last_update_is_probed_at_its_end():
    """So that the decay of single answers at the end is that of the trained network, with the same bits otherwise."""
    cfg = config(recording__probes=["lagged"], training__eval_every=10, training__stop_at=1e9)
    result, plain = run(cfg), run(cfg.model_copy(update={"recording": config().recording}))
    assert result.steps == 10 and result.test_loss == plain.test_loss
    assert result.probes is not None and result.probes["train_step"].values.tolist() == [0, 6, 10]
