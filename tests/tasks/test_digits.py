import math

import torch
from sklearn.datasets import load_digits

from rnnlab.tasks.digits import Digits


def test_splits_are_disjoint_parts_of_the_whole():
    pixels, labels = load_digits(return_X_y=True)
    whole = sorted(zip(map(tuple, pixels.astype(int).tolist()), labels, strict=True))
    assert len({image for image, _ in whole}) == 1797  # no image occurs twice, so its pixels name it
    splits = [Digits.images(split) for split in ("train", "validation", "test")]
    assert [len(images.labels) for images in splits] == [1197, 300, 300]
    parts = [pair for images in splits for pair in zip(*(part.tolist() for part in images), strict=True)]
    assert sorted((tuple(image), label) for image, label in parts) == whole


def test_every_split_has_all_classes_in_equal_shares():
    for split in ("train", "validation", "test"):
        labels = Digits.images(split).labels
        share = labels.bincount(minlength=10) / len(labels)
        assert (share - 0.1).abs().max() < 0.005
        # The first examples stand for the rest, so they may not be sorted by class.
        assert len(labels[:60].unique()) == 10


def test_training_pixels_are_standardised():
    raw = Digits.images("train").pixels.double() / 16
    assert abs(raw.mean().item() - Digits.mean) < 0.001
    assert abs(raw.std().item() - Digits.std) < 0.001


def test_baseline_is_measured_on_the_test_set():
    task = Digits()
    targets = task.evaluation("test", 300, torch.Generator()).targets
    assert torch.allclose(task.losses(torch.zeros(1, 300, 10), targets), torch.tensor(math.log(10)))
    constant = [task.scores(torch.eye(10)[k].expand(1, 300, 10), targets).mean().item() for k in range(10)]
    assert math.isclose(max(constant), task.baseline.score, rel_tol=1e-6)
