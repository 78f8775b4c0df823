"""The callback of Lightning records what a loop written by hand records, and changes no bit of a weight."""

import importlib
import signal
from functools import partial
from types import ModuleType

import pytest
import torch
import xarray as xr
from by_hand import BATCH, EVERY, UPDATES, Classifier, X, Y, by_hand, growing_scaler, new_model, same_weights
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.tensorboard import SummaryWriter

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.plots import style

pytestmark = pytest.mark.slow  # Lightning takes seconds to import


@pytest.fixture(scope="module")
def pl() -> ModuleType:
    """Models and their training, where Lightning is installed."""
    return importlib.import_module("lightning_modules")


def recorder(every=EVERY, **options):
    from rnnlab.trainers.lightning import RecordGradients

    return RecordGradients(every, **options)


def assert_same(record: xr.Dataset, expected: xr.Dataset, module: str = "net."):
    expected = expected.assign_coords(module=("layer", [module + str(name) for name in expected["module"].values]))
    xr.testing.assert_identical(record, expected)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"accumulate": 2}, {"accumulate_grad_batches": 2}),
        ({"clip": 0.01}, {"gradient_clip_val": 0.01}),
        ({"forward": partial(torch.autocast, "cpu", torch.bfloat16, cache_enabled=False)}, {"precision": "bf16-mixed"}),
    ],
    ids=["plain", "accumulated", "clipped", "bf16"],
)
def test_norms_and_weights_are_those_of_a_loop_written_by_hand(pl, ours, theirs):
    plain = new_model()
    expected = by_hand(plain, **ours)
    watched, callback = new_model(), recorder()
    pl.fit(pl.Module(watched), [callback], **theirs)
    record = callback.record.dataset()
    assert_same(record, expected)
    k = ours.get("accumulate", 1)
    assert record["train_step"].values.tolist() == [n for n in range(0, UPDATES // k, EVERY) for _ in range(k)]
    assert same_weights(watched, plain)


def test_weights_and_random_numbers_are_those_without_the_callback(pl):
    watched, unwatched = (rnnlab.convert(new_model(dropout=0.3)) for _ in "ab")
    drawn = []
    for net, callbacks in ((watched, [recorder()]), (unwatched, [])):
        torch.manual_seed(3)
        pl.fit(pl.Module(net), callbacks)
        drawn.append(torch.rand(3))
    assert same_weights(watched, unwatched) and torch.equal(*drawn)
    assert not same_weights(watched, new_model())


def test_the_factor_of_a_scaler_is_taken_out(pl):
    from lightning.pytorch.plugins.precision import MixedPrecision

    forward = partial(torch.autocast, "cpu", torch.half, cache_enabled=False)
    expected = by_hand(new_model(), scaler=growing_scaler(), forward=forward)
    scaler, callback = growing_scaler(), recorder()
    pl.fit(pl.Module(new_model()), [callback], plugins=[MixedPrecision("16-mixed", device="cpu", scaler=scaler)])
    assert scaler.get_scale() == 2.0 ** (10 + UPDATES)
    assert_same(callback.record.dataset(), expected)


def test_batches_that_are_accumulated_have_the_norms_of_one_large_batch(pl):
    small = recorder(per_example=True)
    halves, whole = new_model(), new_model()
    pl.fit(pl.Module(halves), [small], accumulate_grad_batches=UPDATES)
    rnnlab.convert(whole)
    with rnnlab.record(whole, per_example=True) as log:
        nn.functional.cross_entropy(whole(X), Y).backward()
    names = "log10_grad_norm_per_example"
    pieces, one = small.record.dataset()[names], log.dataset()[names].isel(step=0)
    assert pieces.sizes["step"] == UPDATES
    joined = pieces.stack(every=("step", "example")).values
    torch.testing.assert_close(torch.tensor(joined), torch.tensor(one.values), rtol=0, atol=1e-5, equal_nan=True)


def test_validation_is_not_recorded_and_changes_nothing(pl):
    callback, expected = recorder(), by_hand(new_model())
    pl.fit(pl.Module(new_model()), [callback], validate_every=1)
    assert_same(callback.record.dataset(), expected)


def test_two_backward_passes_a_batch_are_two_steps_of_one_number(pl):
    callback = recorder()
    pl.fit(pl.TwoLosses(new_model()), [callback])
    assert callback.record.dataset()["train_step"].values.tolist() == [
        n for n in range(0, 2 * UPDATES, 2) for _ in "ab"
    ]


def test_each_recorded_update_is_sent_once(pl, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setattr(style, "DPI", 50)  # coarse pictures take half the time
    with SummaryWriter(str(tmp_path)) as writer:
        pl.fit(pl.Module(new_model()), [recorder(to=writer)], accumulate_grad_batches=2)
        pl.fit(pl.TwoLosses(new_model()), [recorder(every=1, to=writer)], max_steps=6)
    events = EventAccumulator(str(tmp_path)).Reload().Scalars("grad/decay_rate")
    assert [event.step for event in events] == [0, 2, 0, 2, 4]


def test_a_training_that_goes_on_counts_on(pl, tmp_path):
    callback, module = recorder(), pl.Module(new_model())
    trainer = pl.fit(module)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    again = pl.lightning.Trainer(
        accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False, max_epochs=2,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    again.fit(module, DataLoader(TensorDataset(X, Y), batch_size=BATCH), ckpt_path=tmp_path / "half.ckpt")
    assert callback.record.dataset()["train_step"].values.tolist() == list(range(UPDATES, 2 * UPDATES, EVERY))


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_after_an_interrupt_the_record_is_there_and_the_model_as_it_was(pl, error):
    class Stopped(pl.Module):
        def training_step(self, batch, batch_idx):
            if batch_idx == 3:
                raise error
            return super().training_step(batch, batch_idx)

    callback, net, before = recorder(), new_model(), signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises((SystemExit, ZeroDivisionError)):
            pl.fit(Stopped(net), [callback])
    finally:
        signal.signal(signal.SIGINT, before)  # Lightning leaves it ignored
    assert callback.record.dataset()["train_step"].values.tolist() == [0, 2]
    assert [type(net.below), type(net.above)] == [nn.LSTM, nn.GRU]


def test_a_model_that_was_converted_stays_so_and_one_that_was_not_is_given_back(pl):
    plain, converted = Classifier(), rnnlab.convert(Classifier())
    for net in (plain, converted):
        pl.fit(pl.Module(net), [recorder()], max_steps=1)
    assert type(plain.below) is nn.LSTM
    assert type(converted.below) is rnnlab.LSTM and not converted.below.observers


def test_two_callbacks_in_one_trainer_record_each_its_own(pl):
    net, often, seldom = new_model(), recorder(), recorder(every=2 * EVERY)
    pl.fit(pl.Module(net), [often, seldom])
    assert_same(often.record.dataset(), by_hand(new_model()))
    assert 0 < seldom.record.dataset().sizes["step"] < often.record.dataset().sizes["step"]
    assert type(net.below) is nn.LSTM


def test_a_second_training_takes_the_place_of_the_first_in_the_record(pl):
    callback = recorder()
    pl.fit(pl.Module(new_model()), [callback], max_steps=1)
    pl.fit(pl.Module(new_model()), [callback])
    assert_same(callback.record.dataset(), by_hand(new_model()))


def test_the_other_name_of_the_library_takes_the_callback_too(pl, monkeypatch):
    theirs = pytest.importorskip("pytorch_lightning")
    monkeypatch.setattr(pl, "lightning", theirs)

    class Other(theirs.LightningModule):
        training_step, configure_optimizers = pl.Module.training_step, pl.Module.configure_optimizers

        def __init__(self, net):
            super().__init__()
            self.net = net

    callback = recorder()
    pl.fit(Other(new_model()), [callback])
    assert_same(callback.record.dataset(), by_hand(new_model()))


def test_mistakes_are_told_before_anything_is_trained(pl):
    with pytest.raises(UserError, match="record is there once training has begun"):
        recorder().record.dataset()
    with pytest.raises(UserError, match="to is of type str: give a SummaryWriter"):
        recorder(to="tensorboard")
    with pytest.raises(UserError, match="Module holds no recurrent layer to record"):
        pl.fit(pl.Module(nn.Linear(2, 3)), [recorder()], max_steps=1)
