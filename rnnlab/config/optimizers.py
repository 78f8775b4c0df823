"""Optimisers and their learning-rate schedule, as configuration values; a plug-in may register more."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from rnnlab.common.options import Options
from rnnlab.common.registry import Registry
from rnnlab.config.eager import eager


class Optimizer(Options, ABC):
    """What every optimiser shares: a peak learning rate and how it moves over the run."""

    kind: Any  # narrowed to its own literal by every subclass
    lr: float = Field(default=1e-3, gt=0, le=1e30)
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """After the warm-up: stay, or fall to zero at the last step."""
    warmup: int = Field(default=0, ge=0)
    """Steps over which the rate rises linearly from zero."""
    recurrent: float = Field(default=1.0, gt=0)
    """What the rate of recurrent matrices is multiplied by; orthogonal ones are often given a tenth."""

    @abstractmethod
    def build(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        """Make the torch optimiser, of parameters or of groups of them."""

    def groups(self, named: Iterable[tuple[str, Tensor]]) -> list[dict[str, Any]]:
        """Put parameters that share a rate together.

        Args:
            named: names and parameters; those named `weight_hh` are recurrent.

        Returns:
            Groups as torch has them, with what their rate is multiplied by as `factor`.
        """
        by_factor: dict[float, list[Tensor]] = {}
        for name, parameter in named:
            by_factor.setdefault(self.recurrent if "weight_hh" in name else 1.0, []).append(parameter)
        return [{"params": parameters, "factor": factor} for factor, parameters in by_factor.items()]

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


@register
class SGD(Optimizer):
    """Stochastic gradient descent with momentum."""

    kind: Literal["sgd"] = "sgd"
    momentum: float = Field(default=0.0, ge=0, lt=1)

    def build(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        return eager(torch.optim.SGD)(parameters, lr=self.lr, momentum=self.momentum)


@register
class RMSprop(Optimizer):
    """Gradient divided by a running root mean square; `decay` is torch's α."""

    kind: Literal["rmsprop"] = "rmsprop"
    decay: float = Field(default=0.99, ge=0, lt=1)
    momentum: float = Field(default=0.0, ge=0, lt=1)

    def build(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        return eager(torch.optim.RMSprop)(parameters, lr=self.lr, alpha=self.decay, momentum=self.momentum)


@register
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015)."""

    kind: Literal["adam"] = "adam"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)

    def build(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        return eager(torch.optim.Adam)(parameters, lr=self.lr, betas=(self.beta1, self.beta2))


@register
class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    kind: Literal["adamw"] = "adamw"
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)

    def build(self, parameters: Iterable[Tensor] | Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        return eager(torch.optim.AdamW)(
            parameters, lr=self.lr, betas=(self.beta1, self.beta2), weight_decay=self.weight_decay
        )
