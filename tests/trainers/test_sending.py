"""What is sent to a tracker is there when its store is read back, by step."""

import shutil
import sys
from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from mlflow import MlflowClient
from PIL import Image

import rnnlab
from rnnlab.common.errors import UserError
from rnnlab.plots import style
from rnnlab.trainers.numbers import profile_numbers
from rnnlab.trainers.sending import sink_of

STEPS = (0, 30, 20)
"""The last one is smaller: a tracker that is given less than before must not lose it."""


@pytest.fixture
def send(monkeypatch):
    """Sends what a pass has recorded, at each of `STEPS`, in coarse pictures; returns the numbers by step."""
    monkeypatch.setattr(style, "DPI", 50)

    def send(to):
        net = rnnlab.LSTM(2, 4)
        sent = {}
        with rnnlab.record(net) as log:
            for step in STEPS:
                net(torch.randn(9, 3, 2))[0][-1].sum().backward()
                rnnlab.log_profile(log, to, np.int64(step) if step else step)
                sent[step] = profile_numbers(log.dataset())
        return sent

    return send


def assert_drawn(picture: Image.Image):
    """A picture with something on it, such as a profile."""
    assert picture.mode == "RGB"
    colors = picture.getcolors(1 << 24)
    assert colors is not None and len(colors) > 50


def test_tensorboard(send, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import IMAGES, SCALARS, EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        sent = send(writer)
    events = EventAccumulator(str(tmp_path), {SCALARS: 0, IMAGES: 0}).Reload()
    assert set(events.Tags()["scalars"]) == set(sent[0])
    for name in sent[0]:
        arrived = {event.step: event.value for event in events.Scalars(name)}
        assert arrived == pytest.approx({step: numbers[name] for step, numbers in sent.items()})
    images = events.Images("grad/lag")
    assert [image.step for image in images] == list(STEPS)
    (tmp_path / "lag.png").write_bytes(images[-1].encoded_image_string)
    assert_drawn(Image.open(tmp_path / "lag.png"))


def test_mlflow(send, tmp_path, empty_store):
    mlflow.set_tracking_uri(f"sqlite:///{shutil.copy(empty_store, tmp_path / 'mlflow.db')}")
    try:
        experiment = mlflow.create_experiment("mine", artifact_location=str(tmp_path / "artifacts"))
        with mlflow.start_run(experiment_id=experiment) as run:
            sent = send(run)
        client, run_id = MlflowClient(), run.info.run_id
        assert sink_of(mlflow.get_run(run_id)) is sink_of(run)
        for name in sent[0]:
            arrived = {point.step: point.value for point in client.get_metric_history(run_id, name)}
            assert arrived == {step: numbers[name] for step, numbers in sent.items()}
        names = sorted(file.path for file in client.list_artifacts(run_id, "images") if file.path.endswith(".png"))
        assert [f"+step+{step}+" in name for step, name in zip(sorted(STEPS), names, strict=True)] == [True] * 3
        assert_drawn(Image.open(client.download_artifacts(run_id, names[0])))
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


@pytest.mark.slow
def test_weights_and_biases(send, tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    import wandb_file

    monkeypatch.setitem(sys.modules, "wandb.sdk.launch", None)  # imported by each run, for seconds, and done without
    quiet = wandb.Settings(
        silent=True, console="off", x_disable_meta=True, x_disable_stats=True, x_save_requirements=False
    )
    with wandb.init(mode="offline", dir=tmp_path, settings=quiet) as run:
        run.log({"loss": 1.0})
        sent = send(run)
        run.log({"loss": 2.0})
        files = Path(run.dir)
    wandb.teardown()  # until then the file may not be whole
    (file,) = files.parent.glob("*.wandb")
    first, *rows, last = wandb_file.rows(file)
    assert (first["loss"], last["loss"]) == (1.0, 2.0)  # what the user logs is not dropped
    assert [{name: row[name] for name in sent[0]} for row in rows] == list(sent.values())
    assert [row["grad/step"] for row in rows] == list(STEPS)
    assert wandb_file.axes(file) == dict.fromkeys([*sent[0], "grad/lag"], "grad/step")
    for row in rows:
        assert_drawn(Image.open(files / row["grad/lag/path"]))


def test_a_record_in_a_folder_sends_its_newest_step_when_it_is_closed_too(send, tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    net = rnnlab.GRU(2, 3)
    with rnnlab.record(net, folder=tmp_path / "record") as log:
        for _ in range(3):
            net(torch.randn(5, 2, 2))[0][-1].sum().backward()
        open_still = log.newest()
    for newest in (open_still, log.newest()):
        assert newest["step"].values.tolist() == [2]
        np.testing.assert_allclose(newest["log10_grad_norm"], log.dataset()["log10_grad_norm"][-1:], rtol=1e-6)
    with SummaryWriter(str(tmp_path / "board")) as writer:
        rnnlab.log_profile(log, writer, 0)


def test_mistakes_are_told(tmp_path):
    from torch.utils.tensorboard import SummaryWriter

    net = rnnlab.GRU(2, 3)
    with rnnlab.record(net) as log:
        net(torch.randn(5, 2, 2))[0][-1].sum().backward()
    wrong = r"to is of type {}: give a SummaryWriter .*, or a run of mlflow\.start_run"
    for to in (None, MlflowClient("http://127.0.0.1:1")):  # such as wandb.run where no run was begun
        with pytest.raises(UserError, match=wrong.format(type(to).__name__)):
            rnnlab.log_profile(log, to, 0)
    with SummaryWriter(str(tmp_path)) as writer:
        with pytest.raises(UserError, match="log holds no recorded step: call log_profile after a backward pass"):
            rnnlab.log_profile(log.dataset().isel(step=[]), writer, 0)
        with pytest.raises(UserError, match="step is of type float"):
            rnnlab.log_profile(log, writer, 0.5)  # type: ignore[arg-type]
