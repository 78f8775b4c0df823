"""Sequential digits: the 8×8 handwritten digits of scikit-learn, for a first look without MNIST."""

import math
from functools import cache
from importlib.metadata import version
from typing import ClassVar, Literal

import numpy as np
import torch

from rnnlab.tasks.base import Baseline, Split
from rnnlab.tasks.images import Images, SequentialImages
from rnnlab.tasks.registry import register


@register
class Digits(SequentialImages):
    """The 1,797 small digits, split once and for all into 1,197 / 300 / 300; ten classes at the last step.

    Counts as solved at 90% right, which a GRU reaches in a few hundred updates reading rows, and in some
    thousand reading pixels; 300 images tell it to within 1.7 points (standard error).

    Reference: Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI repository.
    """

    kind: Literal["digits"] = "digits"

    solved_at: ClassVar[float] = 0.9
    pixels: ClassVar[int] = 64
    white: ClassVar[float] = 16
    mean: ClassVar[float] = 0.305
    std: ClassVar[float] = 0.376

    @property
    def baseline(self) -> Baseline:
        return Baseline(math.log(10), 31 / 300, "guessing: ln 10; the most frequent digit is 31 of the 300 test images")

    @property
    def variant(self) -> str:
        return f"scikit-learn 8×8 digits, {self.reading}, 1,197 images to train, 300 to validate, 300 to test"

    @property
    def data(self) -> dict[str, str]:
        return {"scikit-learn": version("scikit-learn")}

    @classmethod
    def images(cls, split: Literal["train"] | Split) -> Images:
        return _load()[split]


@cache
def _load() -> dict[str, Images]:
    # Imported here because scikit-learn takes a second to load.
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    order = np.random.RandomState(0).permutation(len(labels))
    # Of the images of each class, one in six goes to the test set and one in six to the validation set.
    turn = np.argsort(np.argsort(labels[order], kind="stable")) % 6
    splits = {"test": order[turn == 0], "validation": order[turn == 1], "train": order[turn > 1]}
    return {
        name: Images(torch.tensor(pixels[part], dtype=torch.uint8), torch.tensor(labels[part]))
        for name, part in splits.items()
    }
