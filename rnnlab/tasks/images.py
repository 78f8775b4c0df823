"""What the image tasks share: a picture read a few pixels at a time, classified at the last step."""

from abc import abstractmethod
from functools import cache
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field, field_validator
from torch import Tensor

from rnnlab.tasks.base import Batch, Split, Task


class Images(NamedTuple):
    """One part of a data set.

    Attributes:
        pixels: (N, P) brightness from 0 to `SequentialImages.white`, row by row.
        labels: (N,) int64 classes.
    """

    pixels: Tensor
    labels: Tensor


class SequentialImages(Task):
    """Images read `pixels_per_step` pixels a step, row by row or in one fixed random order; all pixels at once make
    one step.

    Pixels are scaled to [0, 1] and standardised with one mean and standard deviation, those of all training
    pixels. Training draws with replacement; the evaluation sets are fixed, and a request for fewer examples
    than they have gives the first ones.
    """

    pixels_per_step: int = Field(default=1, ge=1)
    permuted: bool = False
    """Read the pixels of every image in the same random order, the same for all runs."""

    pixels: ClassVar[int]
    """Pixels of an image."""
    white: ClassVar[float]
    """The brightest pixel value."""
    mean: ClassVar[float]
    std: ClassVar[float]

    @classmethod
    @abstractmethod
    def images(cls, split: Literal["train"] | Split) -> Images:
        """Return one part of the data set, read on first use and kept for the life of the process."""

    @field_validator("pixels_per_step")
    @classmethod
    def _check_divisor(cls, value: int) -> int:
        divisors = [n for n in range(1, cls.pixels + 1) if cls.pixels % n == 0]
        if value not in divisors:
            raise ValueError(
                f"{value} does not cut the {cls.pixels} pixels of an image into equal steps: "
                f"choose one of {', '.join(map(str, divisors))}"
            )
        return value

    @property
    def steps(self) -> int:
        return self.pixels // self.pixels_per_step

    @property
    def input_size(self) -> int:
        return self.pixels_per_step

    @property
    def output_size(self) -> int:
        return 10

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted({self.steps // 4, self.steps // 2, self.steps - 1}))

    @property
    def label(self) -> str:
        return f"permuted_{super().label}" if self.permuted else super().label

    @property
    def reading(self) -> str:
        """How the pixels come, for `variant`."""
        order = "in one fixed random order" if self.permuted else "row by row"
        return f"pixels {order}, {self.pixels_per_step} a step, standardised"

    def sample(self, generator: torch.Generator, batch_size: int) -> Batch:
        images = self.images("train")
        chosen = torch.randint(len(images.labels), (batch_size,), generator=generator)
        return self._batch(images.pixels[chosen], images.labels[chosen])

    def evaluation(self, split: Split, examples: int, generator: torch.Generator) -> Batch:
        images = self.images(split)
        return self._batch(images.pixels[:examples], images.labels[:examples])

    def _batch(self, pixels: Tensor, labels: Tensor) -> Batch:
        """Lay images (B, P) out over time."""
        if self.permuted:
            pixels = pixels[:, permutation(self.pixels)]
        values = (pixels.to(torch.float32) / self.white - self.mean) / self.std
        steps = values.view(len(labels), self.steps, self.pixels_per_step)  # (B, T, I)
        return Batch(steps.transpose(0, 1).contiguous(), labels[None])  # (T, B, I), (1, B)


@cache
def permutation(pixels: int) -> Tensor:
    """Return the order in which permuted images are read: that of the orthogonal-RNN literature for MNIST.

    A legacy RandomState, because numpy promises never to change its stream.

    Reference: the code of Helfrich et al. 2018 (scoRNN), seed 92916.
    """
    return torch.from_numpy(np.random.RandomState(92916).permutation(pixels))
