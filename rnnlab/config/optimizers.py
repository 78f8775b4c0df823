"""Optimisers and their learning-rate schedule, as configuration values; a plug-in may register more."""

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

from pydantic import Field
from torch import Tensor

from rnnlab.common.options import Options
from rnnlab.common.registry import Registry


class Optimizer(Options, ABC):
    """What every optimiser shares: a peak learning rate and how it moves over the run.

    The weights of a run are a row, and those of runs that train together lie side by side. A subclass names what it
    keeps of earlier gradients and writes its rule for rows, element by element, so that company changes no bit.
    """

    kind: Any  # narrowed to its own literal by every subclass
    lr: float = Field(default=1e-3, gt=0, le=1e30)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up: stay, or fall to zero at the last step."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from zero."""
    recurrent: float = Field(default=1.0, gt=0)
    """What the rate of recurrent matrices is multiplied by; orthogonal ones are often given a tenth."""

    moments: ClassVar[tuple[str, ...]] = ()
    """What is kept of earlier gradients, one number for each weight, from zero on."""

    @abstractmethod
    def numbers(self, rate: float, count: int) -> tuple[float, ...]:
        """What the rule multiplies by in one update of one run, in double precision.

        Args:
            rate: learning rate of the update.
            count: updates, this one included.
        """

    @staticmethod
    @abstractmethod
    def update(weights: Tensor, gradient: Tensor, moments: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        """Change the weights of P runs in place.

        Args:
            weights: (P, N), a row for each run.
            gradient: (P, N), left as it is.
            moments: (P, N) each, in the order of `moments`, changed in place.
            numbers: (P, 1) each, what `numbers` gives for each run.
        """

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of one update.

        Args:
            step: the update, from 0.
            steps: planned number of updates.

        Returns:
            The rate; a pure function, so that a resumed run needs no scheduler state.
        """
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.schedule == "constant":
            return self.lr
        progress = (step - self.warmup) / max(1, steps - self.warmup)
        return self.lr * (1 - progress if self.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * progress)))


OPTIMIZERS: Registry[type[Optimizer]] = Registry("optimizer")
register = OPTIMIZERS.register
EPSILON = 1e-8
"""Added to root mean squares before something is divided by them; torch's default."""


@register
class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)

    moments: ClassVar[tuple[str, ...]] = ("velocity",)

    def numbers(self, rate: float, count: int) -> tuple[float, ...]:
        return self.momentum, -rate

    @staticmethod
    def update(weights: Tensor, gradient: Tensor, moments: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        (velocity,), (momentum, size) = moments, numbers
        velocity.mul_(momentum).add_(gradient)
        weights.add_(velocity * size)


@register
class RMSprop(Optimizer):
    """Gradient divided by a running root mean square; `decay` is torch's α."""

    kind: Literal["rmsprop"] = "rmsprop"
    decay: float = Field(default=0.99, ge=0, lt=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)

    moments: ClassVar[tuple[str, ...]] = ("square", "velocity")

    def numbers(self, rate: float, count: int) -> tuple[float, ...]:
        return self.decay, 1 - self.decay, self.momentum, -rate

    @staticmethod
    def update(weights: Tensor, gradient: Tensor, moments: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        (square, velocity), (decay, rest, momentum, size) = moments, numbers
        square.mul_(decay).addcmul_(gradient * rest, gradient)
        velocity.mul_(momentum).addcdiv_(gradient, square.sqrt().add_(EPSILON))
        weights.add_(velocity * size)


@register
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)

    moments: ClassVar[tuple[str, ...]] = ("mean", "square")

    def numbers(self, rate: float, count: int) -> tuple[float, ...]:
        size, root = rate / (1 - self.beta1**count), math.sqrt(1 - self.beta2**count)
        return 1 - self.beta1, self.beta2, 1 - self.beta2, root, -size

    @staticmethod
    def update(weights: Tensor, gradient: Tensor, moments: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        (mean, square), (new, decay, rest, root, size) = moments, numbers
        mean.lerp_(gradient, new)
        square.mul_(decay).addcmul_(gradient * rest, gradient)
        weights.addcdiv_(mean * size, square.sqrt().div_(root).add_(EPSILON))


@register
class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"  # type: ignore[assignment]
    weight_decay: float = Field(default=0.01, ge=0)

    def numbers(self, rate: float, count: int) -> tuple[float, ...]:
        return *super().numbers(rate, count), 1 - rate * self.weight_decay

    @staticmethod
    def update(weights: Tensor, gradient: Tensor, moments: tuple[Tensor, ...], numbers: tuple[Tensor, ...]) -> None:
        *numbers_of_adam, kept = numbers
        weights.mul_(kept)
        Adam.update(weights, gradient, moments, tuple(numbers_of_adam))
