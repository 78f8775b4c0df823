import numpy as np
import pytest
import torch

from rnnlab.common.errors import UserError
from rnnlab.config.config import Config
from rnnlab.tasks.digits import Digits
from rnnlab.tasks.images import permutation
from rnnlab.tasks.mnist import Mnist


def test_the_permutation_is_a_bijection_and_not_the_identity():
    order = permutation(784)
    assert sorted(order.tolist()) == list(range(784))
    # A random permutation keeps one pixel in its place on average.
    assert (order == torch.arange(784)).sum() < 8


@pytest.mark.parametrize("per_step", [1, 2, 8, 32, 64])
def test_steps_put_together_give_the_image_back(per_step: int):
    raw = Digits.images("test").pixels
    for permuted in (False, True):
        task = Digits(pixels_per_step=per_step, permuted=permuted)
        batch = task.evaluation("test", 20, torch.Generator())
        assert batch.inputs.shape == (64 // per_step, 20, per_step)
        for b in range(20):
            read = [value for step in batch.inputs[:, b].tolist() for value in step]
            places = permutation(64).tolist() if permuted else range(64)
            image = [0] * 64
            for place, value in zip(places, read, strict=True):
                image[place] = round((value * task.std + task.mean) * task.white)
            assert image == raw[b].tolist()


def test_all_runs_read_in_the_same_order():
    first = Digits(permuted=True).evaluation("test", 5, torch.Generator().manual_seed(1))
    second = Digits(permuted=True).evaluation("test", 5, torch.Generator().manual_seed(2))
    assert torch.equal(first.inputs, second.inputs)


def test_a_request_for_fewer_gives_the_first_and_for_more_gives_all():
    task = Digits(pixels_per_step=8)
    every = task.evaluation("validation", 10_000, torch.Generator())
    few = task.evaluation("validation", 3, torch.Generator())
    assert every.targets.shape == (1, 300)
    assert torch.equal(few.inputs, every.inputs[:, :3]) and torch.equal(few.targets, every.targets[:, :3])


def test_training_draws_come_from_the_training_images_with_replacement():
    task = Digits(pixels_per_step=8)
    training = {tuple(image) for image in Digits.images("train").pixels.tolist()}
    inputs = task.sample(torch.Generator().manual_seed(0), 3000).inputs
    raw = ((inputs * task.std + task.mean) * task.white).round().long().transpose(0, 1).reshape(3000, 64)
    drawn = {tuple(image) for image in raw.tolist()}
    assert drawn <= training
    # The expected share of N images seen in n draws is 1 - (1 - 1/N)^n, here 0.92.
    assert abs(len(drawn) / len(training) - (1 - np.exp(3000 * np.log1p(-1 / 1197)))) < 0.03


@pytest.mark.parametrize(("kind", "wrong"), [("mnist", 5), ("mnist", 1568), ("digits", 28), ("digits", 0)])
def test_steps_that_do_not_divide_the_image_are_refused(kind: str, wrong: int):
    data = {"task": {"kind": kind, "pixels_per_step": wrong}, "cell": {"kind": "lstm"}}
    with pytest.raises(UserError, match=rf"^configuration: task.pixels_per_step.*{wrong}"):
        Config.parse(data)


def test_settings_are_known_without_data(monkeypatch: pytest.MonkeyPatch):
    def fail() -> None:
        raise AssertionError("data was read")

    monkeypatch.setattr("rnnlab.tasks.mnist._load", fail)
    task = Mnist(pixels_per_step=28, permuted=True)
    assert (task.steps, task.input_size, task.output_size) == (28, 28, 10)
    assert task.label == "permuted_mnist-28"
    assert task.baseline.loss == pytest.approx(2.302585)
    assert task.lags[-1] == 27 and "random order" in task.variant
