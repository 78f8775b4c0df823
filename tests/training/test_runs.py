"""A run is a pure function of its configuration, interrupted or not."""

import math
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
import torch

from rnnlab.cells import make_cell
from rnnlab.common.errors import UserError
from rnnlab.common.interrupts import Interrupted
from rnnlab.config.config import Config
from rnnlab.config.overrides import override
from rnnlab.scan.compiled import support
from rnnlab.scan.native import build
from rnnlab.training.kernels import prepare_kernels
from rnnlab.training.models import build_model
from rnnlab.training.result import Result
from rnnlab.training.runs import run, train

BASE = {
    "task": {"kind": "adding", "length": 8},
    "cell": {"kind": "lstm", "hidden_size": 6},
    "training": {"steps": 60, "batch_size": 8, "eval_every": 15, "eval_examples": 40, "test_examples": 40},
    "recording": {"points": 8},
}


def config(**changes) -> Config:
    return Config.parse(override(BASE, {name.replace("__", "."): value for name, value in changes.items()}))


@cache
def whole(batch_norm: bool = False) -> Result:
    """A run from its first update to its last, trained once for all tests that compare another with it."""
    return run(config(**({"cell__norm": "batch", "cell__norm_noise": 0.1} if batch_norm else {})))


def assert_identical(a: Result, b: Result) -> None:
    """Bit for bit, seconds aside."""
    assert (a.outcome, a.steps, a.steps_to_solve) == (b.outcome, b.steps, b.steps_to_solve)
    assert (a.test_loss, a.test_score) == (b.test_loss, b.test_score)
    assert a.history.keys() == b.history.keys()
    for name in a.history:
        np.testing.assert_array_equal(a.history[name].steps, b.history[name].steps)
        np.testing.assert_array_equal(a.history[name].values, b.history[name].values)
    assert a.profile is not None and b.profile is not None
    assert a.profile.identical(b.profile)


@pytest.mark.parametrize("kind", ["sgd", "rmsprop", "adam", "adamw"])
def test_same_configuration_same_result_and_other_seed_another(kind):
    cfg = config(optimizer__kind=kind)
    first = run(cfg)
    torch.rand(7)  # the global stream has no say
    assert_identical(first, run(cfg))
    assert run(config(optimizer__kind=kind, seed=1)).test_loss != first.test_loss


def test_recurrent_matrices_may_have_a_rate_of_their_own():
    """One update of plain gradient descent moves every weight by its rate times its gradient."""
    moved = {}
    for factor in (1.0, 0.25):
        cfg = config(optimizer={"kind": "sgd", "lr": 0.1, "recurrent": factor}, training__steps=1, dtype="float64")
        before, after = build_model(cfg).state_dict(), run(cfg).model
        assert after is not None
        moved[factor] = {name: value - before[name] for name, value in after.state_dict().items()}
    for name, whole in moved[1.0].items():
        scale = 0.25 if "weight_hh" in name else 1.0
        assert whole.any()
        torch.testing.assert_close(moved[0.25][name], scale * whole, rtol=1e-9, atol=0)


def test_training_is_over_at_a_score_of_ones_own():
    free = run(config(training__stop_when_solved=False))
    curve = free.history["val/mse"]
    bound = curve.values[1]  # that of the second look, which is better than that of the first
    assert bound < curve.values[0]
    stopped = run(config(training__stop_at=bound))
    assert stopped.steps == curve.steps[1] and stopped.history["val/mse"].values == curve.values[:2]
    assert run(config(training__stop_at=0.0)).steps == 60


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("stop_after", [1, 22, 45, 59])
def test_a_resumed_run_is_bit_identical(tmp_path, stop_after, batch_norm):
    cfg = whole(batch_norm).config
    checkpoint = tmp_path / "checkpoint.pt"
    updates = 0

    def stop() -> bool:
        nonlocal updates
        updates += 1
        return updates == stop_after

    with pytest.raises(Interrupted):
        run(cfg, checkpoint=checkpoint, should_stop=stop)
    assert_identical(run(cfg, checkpoint=checkpoint), whole(batch_norm))


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path):
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        run(config(), checkpoint=checkpoint, should_stop=lambda: True)
    with pytest.raises(UserError, match="another configuration"):
        run(config(seed=1), checkpoint=checkpoint)


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flip(content: bytes) -> bytes:
    """One bit of a weight or so: in the middle of what torch itself would read without a word."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


@pytest.mark.parametrize("damage", [cut, flip, lambda _: b"", lambda _: b"\0" * 5000])
def test_a_damaged_checkpoint_is_set_aside_and_the_run_starts_anew(tmp_path, damage):
    checkpoint = tmp_path / "checkpoint.pt"
    with pytest.raises(Interrupted):
        run(config(), checkpoint=checkpoint, should_stop=lambda: True)
    damaged = damage(checkpoint.read_bytes())
    checkpoint.write_bytes(damaged)
    with pytest.warns(UserWarning, match=r"is damaged: it is kept as checkpoint.pt.damaged-1"):
        assert_identical(run(config(), checkpoint=checkpoint), whole())
    assert (tmp_path / "checkpoint.pt.damaged-1").read_bytes() == damaged


def test_recording_changes_no_weight():
    with_recording, without = whole(), run(config(recording__points=0))
    assert with_recording.test_loss == without.test_loss
    assert with_recording.history["train/loss"] == without.history["train/loss"]
    assert without.profile is None


def test_an_explosion_is_an_outcome_not_a_crash():
    cfg = config(
        cell={"kind": "vanilla", "activation": "relu", "hidden_size": 6},
        init__recurrent_scale=1e6,
        optimizer={"kind": "sgd", "lr": 1e30},
        task__length=30,
    )
    result = run(cfg)
    assert result.outcome == "diverged"
    assert result.steps < 60
    assert result.objective >= cfg.task.baseline.loss
    assert math.isfinite(result.objective)


def test_an_explosion_in_the_last_update_is_divergence_too():
    exploding = {"kind": "sgd", "lr": 1e30}
    cfg = config(
        cell={"kind": "vanilla", "activation": "relu", "hidden_size": 6}, optimizer=exploding, training__steps=1
    )
    assert run(cfg).outcome == "diverged"


def test_an_easy_task_is_solved_and_stops_early():
    cfg = config(task={"kind": "delayed_recall", "length": 4, "noise": 0.0}, optimizer__lr=0.02, training__steps=400)
    result = run(cfg)
    assert result.outcome == "solved"
    assert result.steps == result.steps_to_solve
    assert result.steps < 400
    assert result.test_score >= 0.99
    assert run(config(**{"task": cfg.task.model_dump(), "optimizer.lr": 0.02, "training.steps": 400,
                         "training.stop_when_solved": False})).steps == 400  # fmt: skip


def test_the_curve_of_evaluations_is_reported_as_it_grows():
    seen = []
    result = run(config(), on_evaluation=lambda step, curves: seen.append((step, curves["val/mse"].values[-1])))
    assert [step for step, _ in seen] == [15, 30, 45, 60]
    assert [value for _, value in seen] == result.history["val/mse"].values


def test_following_profiles_and_evaluations_changes_no_bit():
    profiles: list[tuple] = []
    followed = run(
        config(), on_evaluation=lambda step, curves: None, on_profile=lambda *profile: profiles.append(profile)
    )
    assert_identical(followed, whole())
    assert followed.profile is not None
    assert [step for step, *_ in profiles] == followed.profile["train_step"].values.tolist()


def test_learning_rate_schedules():
    steps = 100
    for kind, middle in (("linear", 0.5), ("cosine", 0.5), ("constant", 1.0)):
        optimizer = config(optimizer={"kind": "adam", "lr": 2.0, "schedule": kind, "warmup": 0}).optimizer
        assert optimizer.rate(0, steps) == 2.0
        assert optimizer.rate(50, steps) == pytest.approx(2.0 * middle)
    warm = config(optimizer={"kind": "sgd", "lr": 1.0, "warmup": 4}).optimizer
    assert [warm.rate(k, steps) for k in range(5)] == [0.25, 0.5, 0.75, 1.0, 1.0]


def test_recorded_steps_start_at_initialisation_and_end_at_the_last_update():
    for spacing in ("log", "linear"):
        chosen = sorted(config(recording__spacing=spacing).recording.chosen_steps(1000))
        assert chosen[0] == 0 and chosen[-1] == 999 and len(chosen) <= 8
    assert config(recording__points=0).recording.chosen_steps(10) == frozenset()


@pytest.mark.slow
@pytest.mark.skipif(not build.has_compiler(), reason="needs a C++ compiler")
def test_compiling_the_kernels_counts_in_no_run(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O0"))  # compiles in a third of the time
    build.load.cache_clear()
    said: list[str] = []
    began = time.monotonic()
    result = run(config(training__steps=4))
    compiling = time.monotonic() - began - result.seconds
    assert list(tmp_path.glob("rnnlab/kernels-*.so")) and result.seconds < compiling / 4
    prepare_kernels(result.config, said.append)
    assert not said  # nothing is left to compile
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    prepare_kernels(result.config, said.append)
    assert said == ["compiling kernels, once"]
    build.load.cache_clear()


@pytest.mark.slow
@pytest.mark.skipif(not build.has_compiler(), reason="needs a C++ compiler")
def test_compiling_a_step_counts_in_no_run(monkeypatch, tmp_path):
    """A dilated layer is not for the kernels written by hand; in no other test has a cell this activation and dtype."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cell = {"kind": "vanilla", "hidden_size": 5, "activation": "hard_tanh"}
    began = time.monotonic()
    result = run(config(training__steps=4, task__length=20, cell=cell, model__dilation=2, dtype="float64"))
    compiling = time.monotonic() - began - result.seconds
    assert compiling > 1 and result.seconds < compiling / 2


def test_what_a_remedy_does_before_training_counts():
    short = {"training__steps": 1, "training__eval_every": 1}
    run(config(**short))  # kernels are loaded
    began = time.monotonic()
    result = run(config(**short, remedies__flossing={"exponents": 2, "updates": 20}))
    assert result.seconds > (time.monotonic() - began) / 2


@pytest.mark.slow
@pytest.mark.skipif(not build.has_compiler(), reason="needs a C++ compiler")
def test_a_run_imports_neither_the_compiler_nor_what_only_reports_and_trainers_need():
    """Nor the tracer, where a step was compiled before: the second process reads what the first, here, has written."""
    program = """
import sys, rnnlab, rnnlab.tracking.artifacts
from rnnlab import plots
from rnnlab.scan.compiled import support
for kind in ("lstm", "mgu"):
    config = {"task": {"kind": "adding", "length": 12}, "cell": {"kind": kind, "hidden_size": 3}}
    rnnlab.run(rnnlab.Config.parse({**config, "training": {"steps": 2, "eval_examples": 4, "test_examples": 4}}))
plots.heatmap, plots.lag_plot, rnnlab.log_profile
assert support._KERNELS
print(*{"torch._dynamo", "rnnlab.scan.compiled.trace", "sympy", "scipy.stats", "seaborn", "sklearn"} & {*sys.modules})
print(*{"accelerate", "lightning", "pytorch_lightning", "tensorboard", "transformers", "wandb"} & {*sys.modules})
print(*{"mlflow", "optuna"} & {*sys.modules})
"""
    for training in (True, False):
        cell = make_cell("mgu", hidden_size=3)
        assert support.kernel(cell, tuple(cell.parameter_shapes(2)), training, torch.float32) is not None
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n\n\n" and not done.stderr


@pytest.mark.parametrize("together", [False, True])
def test_settings_of_the_script_around_change_nothing(together: bool) -> None:
    def weights() -> list[torch.Tensor]:
        configs = [config(seed=seed, training__steps=20) for seed in range(3 if together else 1)]
        result = train(configs)[0]
        assert result.model is not None
        return [p.detach() for p in result.model.parameters()]

    expected = weights()
    try:
        torch.set_default_dtype(torch.float64)
        with torch.no_grad():
            found = weights()
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(a, b) for a, b in zip(expected, found, strict=True))
