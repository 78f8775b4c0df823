import gzip
import math

import numpy as np
import pytest
import torch

from rnnlab.tasks.data import DataFile, read
from rnnlab.tasks.images import permutation
from rnnlab.tasks.mnist import MIRRORS, SHA256, Mnist, decode_idx

TRAIN_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
TEST_COUNTS = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def raw_bytes(name: str) -> bytes:
    return gzip.decompress(read(DataFile("mnist", name, SHA256[name], MIRRORS)))


def test_idx_is_decoded_with_the_axes_of_its_header():
    data = bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 10, 11, 12, 20, 21, 255])
    assert np.array_equal(decode_idx(data), [[10, 11, 12], [20, 21, 255]])


@pytest.mark.usefixtures("mnist_files")
class TestFiles:
    def test_label_counts_are_those_published(self):
        train, validation, test = (Mnist.images(split).labels for split in ("train", "validation", "test"))
        assert torch.cat([train, validation]).bincount().tolist() == TRAIN_COUNTS
        assert test.bincount().tolist() == TEST_COUNTS
        assert (len(train), len(validation), len(test)) == (55_000, 5_000, 10_000)

    def test_validation_images_are_the_last_and_no_training_images(self):
        data, labels = raw_bytes("train-images-idx3-ubyte.gz"), raw_bytes("train-labels-idx1-ubyte.gz")
        for images, offset in ((Mnist.images("train"), 0), (Mnist.images("validation"), 55_000)):
            for n in (0, 1234, len(images.labels) - 1):
                start = 16 + (offset + n) * 784
                assert bytes(images.pixels[n].tolist()) == data[start : start + 784]
                assert images.labels[n] == labels[8 + offset + n]
        train = {image.tobytes() for image in Mnist.images("train").pixels.numpy()}
        assert not any(image.tobytes() in train for image in Mnist.images("validation").pixels.numpy())

    def test_training_pixels_have_the_published_mean_and_deviation(self):
        pixels = torch.cat([Mnist.images(split).pixels for split in ("train", "validation")])
        histogram = pixels.flatten().bincount(minlength=256).double()
        values = torch.arange(256).double() / 255
        mean = (histogram * values).sum() / histogram.sum()
        std = ((histogram * (values - mean).square()).sum() / histogram.sum()).sqrt()
        assert abs(mean.item() - Mnist.mean) < 5e-5 and abs(std.item() - Mnist.std) < 5e-5

    @pytest.mark.parametrize("permuted", [False, True])
    @pytest.mark.parametrize("per_step", [1, 28])
    def test_steps_put_together_give_the_image_back(self, per_step: int, permuted: bool):
        data = raw_bytes("t10k-images-idx3-ubyte.gz")
        task = Mnist(pixels_per_step=per_step, permuted=permuted)
        inputs, targets = task.evaluation("test", 3, torch.Generator())
        assert inputs.shape == (784 // per_step, 3, per_step)
        for b in range(3):
            values = [value for step in inputs[:, b].tolist() for value in step]
            places = permutation(784).tolist() if permuted else range(784)
            image = [0] * 784
            for place, value in zip(places, values, strict=True):
                image[place] = round((value * 0.3081 + 0.1307) * 255)
            assert bytes(image) == data[16 + b * 784 : 16 + (b + 1) * 784]
        assert targets.tolist() == [[7, 2, 1]]

    def test_baseline_is_measured_on_the_test_set(self):
        task = Mnist(pixels_per_step=28)
        targets = task.evaluation("test", 10_000, torch.Generator()).targets
        assert torch.allclose(task.losses(torch.zeros(1, 10_000, 10), targets), torch.tensor(math.log(10)))
        constant = [task.scores(row.expand(1, 10_000, 10), targets).mean().item() for row in torch.eye(10)]
        assert math.isclose(max(constant), task.baseline.score, rel_tol=1e-5)  # a float32 mean

    def test_training_draws_are_spread_over_all_training_images(self):
        batch = Mnist(pixels_per_step=28).sample(torch.Generator().manual_seed(0), 20_000)
        counts = batch.targets[0].bincount()
        expected = Mnist.images("train").labels.bincount() * 20_000 / 55_000
        assert ((counts - expected).square() / expected).sum() < 27.9  # exceeded once in a thousand
