"""Gradient clipping, by norm or by value."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor, nn

from rnnlab.common.options import Options


class Clipping(Options):
    """Bound the gradient of all weights together by its norm, or each of its entries by value."""

    kind: Literal["norm", "value"] = "norm"
    threshold: float = Field(default=1.0, gt=0)


class Clipped(NamedTuple):
    """Norm of the whole gradient around clipping.

    Attributes:
        before: Euclidean norm over all weights together.
        after: the same after clipping.
    """

    before: float
    after: float

    @property
    def coefficient(self) -> float:
        """What is left of the norm; 1 where nothing was cut."""
        return self.after / self.before if self.before else 1.0


def clip_gradients(parameters: Iterable[nn.Parameter], clipping: Clipping | None) -> Clipped:
    """Bound gradients in place.

    Args:
        parameters: whose `.grad` is bounded.
        clipping: by norm or by value, and the threshold; none leaves everything as it is.

    Returns:
        The norm before and after. A norm that is not finite is reported and nothing is changed.

    Reference: Pascanu et al. 2013, algorithm 1 (by norm); Mikolov 2012, section 3.2.2 (by value).
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    before = _norm(gradients)
    if clipping is None or not torch.isfinite(torch.tensor(before)):
        return Clipped(before, before)
    if clipping.kind == "value":
        for gradient in gradients:
            gradient.clamp_(-clipping.threshold, clipping.threshold)
        return Clipped(before, _norm(gradients))
    if before <= clipping.threshold:
        return Clipped(before, before)
    for gradient in gradients:
        gradient.mul_(clipping.threshold / before)
    return Clipped(before, clipping.threshold)


def _norm(gradients: list[Tensor]) -> float:
    """Euclidean norm over all tensors, summed in float64 so that squares neither vanish nor overflow."""
    if not gradients:
        return 0.0
    return float(torch.linalg.vector_norm(torch.cat([g.flatten() for g in gradients]), dtype=torch.float64))
