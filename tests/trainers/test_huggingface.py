"""The callback of the Hugging Face Trainer records what a loop written by hand records."""

import gc
import importlib
from functools import partial

import pytest
import torch
import xarray as xr
from by_hand import BATCH, EVERY, LR, UPDATES, X, Y, by_hand, growing_scaler, new_model, same_weights
from torch import nn

import rnnlab

pytestmark = pytest.mark.slow  # the library takes seconds to import


@pytest.fixture(scope="module", autouse=True)
def library() -> None:
    """Skip the tests where it is not installed; it is imported by what trains, and not to be collected."""
    for name in ("transformers", "accelerate"):
        pytest.importorskip(name)
    importlib.import_module("transformers").Trainer  # noqa: B018, the name imports what it stands for
    gc.freeze()  # the Trainer collects garbage each time it trains, and would look through all that was imported


class Model(nn.Module):
    """What the Trainer asks of a model: it returns its loss."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x, labels):
        answers = self.net(x)
        return {"loss": nn.functional.cross_entropy(answers, labels), "logits": answers}


ROWS = [{"x": x, "labels": y} for x, y in zip(X, Y, strict=True)]


def train(net, callbacks=(), folder="unused", model=Model, evaluate=False, before=lambda trainer: None, **options):
    import transformers

    arguments = transformers.TrainingArguments(
        output_dir=str(folder), num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=LR, optim="sgd",
        lr_scheduler_type="constant", use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True,
        train_sampling_strategy="sequential", logging_strategy="no", dataloader_pin_memory=False,
        **{"max_grad_norm": 0.0, **({"eval_strategy": "steps", "eval_steps": 1} if evaluate else {}), **options},
    )  # fmt: skip
    trainer = transformers.Trainer(
        model(net), arguments, train_dataset=ROWS, eval_dataset=ROWS if evaluate else None, callbacks=list(callbacks)
    )
    before(trainer)
    trainer.train()
    return trainer


def recorder(**options):
    from rnnlab.trainers.huggingface import RecordGradients

    return RecordGradients(every=EVERY, **options)


def assert_same(record: xr.Dataset, expected: xr.Dataset):
    names = [f"net.{name}" for name in expected["module"].values]
    xr.testing.assert_identical(record, expected.assign_coords(module=("layer", names)))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {"evaluate": True}),
        ({"accumulate": 2}, {"gradient_accumulation_steps": 2}),
        ({"clip": 0.01}, {"max_grad_norm": 0.01}),
        ({"forward": partial(torch.autocast, "cpu", torch.bfloat16)}, {"bf16": True}),
    ],
    ids=["evaluated", "accumulated", "clipped", "bf16"],
)
def test_norms_and_weights_are_those_of_a_loop_written_by_hand(ours, theirs, tmp_path):
    plain = new_model()
    expected = by_hand(plain, **ours)
    watched, callback = new_model(), recorder()
    train(watched, [callback], tmp_path, **theirs)
    record = callback.record.dataset()
    assert_same(record, expected)
    k = ours.get("accumulate", 1)
    assert record["train_step"].values.tolist() == [n for n in range(0, UPDATES // k, EVERY) for _ in range(k)]
    assert same_weights(watched, plain)
    assert [type(watched.below), type(watched.above)] == [nn.LSTM, nn.GRU]


def test_weights_and_random_numbers_are_those_without_the_callback(tmp_path):
    watched, unwatched = (rnnlab.convert(new_model(dropout=0.3)) for _ in "ab")
    drawn = []
    for net, callbacks in ((watched, [recorder()]), (unwatched, [])):
        train(net, callbacks, tmp_path)
        drawn.append(torch.rand(3))
    assert same_weights(watched, unwatched) and torch.equal(*drawn)


def test_the_factor_of_a_scaler_is_taken_out(tmp_path):
    def scale(trainer):  # as accelerate does on a GPU
        trainer.accelerator.scaler = scaler

    scaler, callback = growing_scaler(), recorder()
    plain, watched = new_model(), new_model()
    train(watched, [callback], tmp_path, before=scale)
    assert scaler.get_scale() == 2.0 ** (10 + UPDATES)
    assert_same(callback.record.dataset(), by_hand(plain, scaler=growing_scaler()))
    assert same_weights(watched, plain)


def test_after_an_interrupt_the_record_is_there_and_close_gives_the_model_back(tmp_path):
    class Stopped(Model):
        def forward(self, x, labels):
            if callback.record.updates == 3:
                raise KeyboardInterrupt
            return super().forward(x, labels)

    callback, net = recorder(), new_model()
    with pytest.raises(KeyboardInterrupt):
        train(net, [callback], tmp_path, model=Stopped)
    assert callback.record.dataset()["train_step"].values.tolist() == [0, 2]
    callback.close()
    assert [type(net.below), type(net.above)] == [nn.LSTM, nn.GRU]
    train(net, [callback], tmp_path)
    assert callback.record.dataset()["train_step"].values.tolist() == [0, 2, 4]
