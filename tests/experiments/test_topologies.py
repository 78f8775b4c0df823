"""One experiment for each way in which inputs and answers can be laid out in time."""

from pathlib import Path

import numpy as np
import pytest
import torch

from rnnlab.common.interrupts import Interrupted
from rnnlab.common.seeding import make_generator
from rnnlab.config.config import Config, load_config
from rnnlab.training.models import build_model
from rnnlab.training.progress import EVALUATION_CHUNK
from rnnlab.training.runs import run

FILES = sorted((Path(__file__).parents[2] / "experiments" / "topologies").glob("*.yaml"))
LAYOUTS = {
    "one_to_one": (1, "last"),
    "one_to_many": (20, "every"),
    "many_to_one": (22, "last"),
    "many_to_many_equal": (20, "every"),
    "many_to_many_unequal": (6, "decoder"),
    "autoencoder": (5, "decoder"),
}
FEW = ["training.steps=40", "training.eval_every=10", "training.eval_examples=50", "training.test_examples=50"]
REVERSAL = {
    "task": {"kind": "reversal", "length": 4, "fillers": 0.5},
    "cell": {"kind": "gru", "hidden_size": 6},
    "training": {"steps": 9, "batch_size": 8, "eval_every": 9, "eval_examples": 300, "test_examples": 40},
    "recording": {"points": 3},
}


def test_there_is_one_file_for_each_layout():
    found = {path.stem: load_config(path).task for path in FILES}
    assert {name: (task.steps, task.answers) for name, task in found.items()} == LAYOUTS


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_few_updates_bring_the_loss_down(path: Path):
    result = run(load_config(path, FEW))
    assert result.outcome in ("finished", "solved")
    first, last = (result.history["train/loss"].values[k] for k in (0, -1))
    assert last < first
    assert result.profile is not None
    assert result.profile.sizes["time"] == result.config.task.total_steps


def test_loss_is_taught_and_score_is_free_over_every_answer_due():
    training = {**REVERSAL["training"], "steps": 40, "eval_every": 40}
    config = Config.parse({**REVERSAL, "optimizer": {"lr": 0.1}, "training": training, "dtype": "float64"})
    task, history = config.task, run(config).history
    assert config.training.eval_examples > EVALUATION_CHUNK  # chunks have different numbers of answers
    # The same updates in a plain loop, then the evaluation in one piece.
    model, generator = build_model(config), make_generator(config.seed, "train")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    for _ in range(40):
        batch = task.sample(generator, 8)
        optimizer.zero_grad()
        (task.losses(model(batch.inputs, batch.targets)[0], batch.targets).sum() / batch.answers).backward()
        optimizer.step()
    batch = task.evaluation("validation", 300, make_generator(config.seed, "validation"))
    with torch.no_grad():
        taught, free = model(batch.inputs, batch.targets)[0], model(batch.inputs)[0]
    loss = task.losses(taught, batch.targets).double().sum().item() / batch.answers
    assert history["val/loss"].values == [pytest.approx(loss, rel=1e-9)]
    score, taught_score = (task.scores(outputs, batch.targets).mean().item() for outputs in (free, taught))
    assert history["val/accuracy"].values == [pytest.approx(score, abs=1e-6)]  # scores are float32
    assert abs(taught_score - score) > 0.01  # or the test could not tell one from the other


def test_a_curve_follows_the_gradient_from_the_decoder_into_the_encoder():
    result = run(Config.parse(REVERSAL))
    assert result.profile is not None
    by_lag = result.profile["log10_grad_norm_by_lag"].sel(direction="forward", state="h").values  # (step, layer, lag)
    # Lags count from the last answer of each example, so that where no answer is as long they do not exist.
    for lag in (8, 4):
        encoder, decoder = by_lag[:, 0, lag], by_lag[:, 1, lag]
        curve = result.history[f"grad/lag_{lag}"].values
        np.testing.assert_array_equal(curve, np.where(np.isnan(decoder), encoder, decoder))
        assert np.isfinite(curve).any()


def test_a_resumed_run_is_bit_identical(tmp_path: Path):
    config, calls = Config.parse(REVERSAL), iter([False, False, False, True])
    with pytest.raises(Interrupted):
        run(config, checkpoint=tmp_path / "checkpoint.pt", should_stop=lambda: next(calls))
    resumed, whole = run(config, checkpoint=tmp_path / "checkpoint.pt"), run(config)
    assert (resumed.test_loss, resumed.test_score) == (whole.test_loss, whole.test_score)
    assert resumed.profile is not None and whole.profile is not None and resumed.profile.identical(whole.profile)
